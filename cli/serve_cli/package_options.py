"""The options of `serve package`, in the order of its help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from serve_deploy.errors import UsageError
from serve_deploy.triton.options import RuntimeName

if TYPE_CHECKING:
    from serve_deploy.model_config import QueuePolicy
    from serve_deploy.model_config.options import InstanceKind

Models = Annotated[list[Path], typer.Argument(metavar="MODEL.onnx…", help="Model files.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The model repository to write into.")]
Name = Annotated[
    str | None,
    typer.Option("--name", help="The model's name; by default the file's.", show_default=False),
]
Version = Annotated[str, typer.Option("--version", metavar="N|next", help="The version to write.")]
Fix = Annotated[bool, typer.Option("--fix", help="Rewrite a copy where the model cannot be served as it is.")]
MaxBatchSize = Annotated[
    int | None,
    typer.Option(
        "--max-batch-size", min=0, metavar="N", show_default=False,
        help="The largest batch; by default 8 where batching is proven, else 0.",
    ),
]  # fmt: skip
Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples", metavar="PATH", show_default=False,
        help="Real inputs: .npz, a folder of .npy, or KServe JSON; by default they are generated.",
    ),
]  # fmt: skip
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Do not serve the result with a real Triton.")]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime", metavar="NAME", show_default=False, help="The Triton to use: embedded, docker or installed."
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels", metavar="[OUTPUT=]FILE", show_default=False,
        help="Class names, one a line; by default those in the model's metadata.",
    ),
]  # fmt: skip
Cpu = Annotated[bool, typer.Option("--cpu", help="Serve on the CPU, even where there are GPUs.")]
Gpu = Annotated[
    str | None,
    typer.Option("--gpu", metavar="all|0,1", show_default=False, help="Serve on GPUs only: on all, or on these."),
]
Instances = Annotated[int, typer.Option("--instances", min=1, metavar="N", help="Sessions side by side (a device).")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=0, metavar="N", show_default=False, help="Threads within an operator."),
]
ParallelThreads = Annotated[
    int | None,
    typer.Option("--parallel-threads", min=0, metavar="N", show_default=False, help="Threads across branches."),
]
Optimize = Annotated[
    str | None,
    typer.Option(
        "--optimize", metavar="tensorrt[:fp16]|openvino", show_default=False,
        help="An accelerator; tensorrt also takes its keys, as in tensorrt:fp16,trt_engine_cache_enable=1.",
    ),
]  # fmt: skip
NoWarmup = Annotated[bool, typer.Option("--no-warmup", help="Do not run samples when the model loads.")]
ResponseCache = Annotated[bool, typer.Option("--response-cache", help="Answer repeated requests from Triton's cache.")]
VersionPolicy = Annotated[
    str | None,
    typer.Option(
        "--version-policy", metavar="all|latest:2|specific:1,3", show_default=False,
        help="The versions to serve; by default the newest.",
    ),
]  # fmt: skip
QueueDelay = Annotated[
    int, typer.Option("--max-queue-delay", min=0, metavar="US", help="Microseconds to wait for a fuller batch.")
]
PreferredBatchSizes = Annotated[
    str | None,
    typer.Option("--preferred-batch-size", metavar="4,8", show_default=False, help="Batch sizes to wait for."),
]
PreserveOrdering = Annotated[bool, typer.Option("--preserve-ordering", help="Answer in the order of the requests.")]
QueueTimeout = Annotated[
    int | None,
    typer.Option("--queue-timeout", min=1, metavar="US", show_default=False, help="Longest wait in the queue."),
]
TimeoutAction = Annotated[
    str | None,
    typer.Option("--timeout-action", metavar="reject|delay", show_default=False, help="What then; by default reject."),
]
TimeoutOverride = Annotated[bool, typer.Option("--timeout-override", help="Let a request bring its own timeout.")]
QueueSize = Annotated[
    int | None,
    typer.Option("--max-queue-size", min=1, metavar="N", show_default=False, help="Refuse requests beyond so many."),
]
PriorityLevels = Annotated[
    int, typer.Option("--priority-levels", min=0, metavar="N", help="Priorities of requests; 1 is served first.")
]
DefaultPriority = Annotated[
    int | None,
    typer.Option(
        "--default-priority", min=1, metavar="N", show_default=False,
        help="The priority of requests that name none; by default the last.",
    ),
]  # fmt: skip


def read_version(text: str) -> int | None:
    """`3` is 3 and `next` is None."""
    if text == "next":
        return None
    if not text.isascii() or not text.isdigit() or (len(text) > 1 and text[0] == "0") or int(text) >= 2**63:
        raise UsageError(f"--version {text!r} is no version of Triton's", hint="a number without leading 0, or next")
    return int(text)


def read_devices(cpu: bool, gpu: str | None) -> tuple[InstanceKind | None, tuple[int, ...]]:
    """The instance kind, and which GPUs; none of both leaves it to the machine that serves."""
    if cpu and gpu:
        raise UsageError("--cpu and --gpu exclude each other")
    if gpu is None:
        return ("cpu" if cpu else None), ()
    return "gpu", (() if gpu == "all" else read_numbers("--gpu", gpu))


def read_numbers(option: str, text: str | None) -> tuple[int, ...]:
    """Read `0,1`."""
    numbers = [part.strip() for part in text.split(",")] if text is not None else []
    if not all(part.isascii() and part.isdigit() for part in numbers):
        raise UsageError(f"{option} {text!r} is no list of numbers", hint=f"write it as {option} 1,2")
    return tuple(map(int, numbers))


def read_queue_policy(
    timeout_us: int | None, action: str | None, override: bool, max_queue_size: int | None
) -> QueuePolicy | None:
    """The queue policy, where any of it was asked for."""
    from serve_deploy.model_config import QueuePolicy

    if action not in (None, "reject", "delay"):
        raise UsageError(f"--timeout-action {action!r} is neither reject nor delay")
    if (action or override) and timeout_us is None:
        raise UsageError("--timeout-action and --timeout-override need a --queue-timeout")
    if timeout_us is None and max_queue_size is None:
        return None
    return QueuePolicy(
        timeout_action="delay" if action == "delay" else "reject",
        default_timeout_us=timeout_us or 0,
        allow_timeout_override=override,
        max_queue_size=max_queue_size or 0,
    )


def read_runtime(text: str | None) -> RuntimeName | None:
    """A runtime's name."""
    for name in get_args(RuntimeName):
        if name == text:
            return cast(RuntimeName, name)
    if text is not None:
        raise UsageError(f"--runtime {text!r} is none of {', '.join(get_args(RuntimeName))}")
    return None
