"""What a user may decide about a model's configuration; all else is derived from the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from serve_deploy.errors import UsageError
from serve_deploy.model_config.accelerators import Optimization, parse_optimization
from serve_deploy.model_config.sequence_batching import SequenceBatching
from serve_deploy.option import Made, Option

InstanceKind = Literal["cpu", "gpu"]
TimeoutAction = Literal["reject", "delay"]
_DEVICES, _BATCHING, _QUEUE, _SERVING = "Devices", "Dynamic batching", "Queue", "Serving"


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions Triton serves: the newest `latest`, or exactly `specific`, or with neither all of them."""

    latest: int | None = None
    specific: tuple[int, ...] = ()

    def serves(self, version: int, existing: tuple[int, ...]) -> bool:
        """Whether Triton would serve `version` beside the `existing` ones."""
        if self.specific:
            return version in self.specific
        if self.latest is None:
            return True
        return version in sorted({*existing, version}, reverse=True)[: self.latest]


def parse_version_policy(text: str) -> VersionPolicy:
    """Read `all`, `latest:2` or `specific:1,3`; UsageError for anything else."""
    if text == "all":
        return VersionPolicy()
    if match := re.fullmatch(r"latest:([1-9][0-9]*)", text):
        return VersionPolicy(latest=_within_int32(int(match[1]), f"`version_policy={text}`"))
    if match := re.fullmatch(r"specific:([1-9][0-9]*(?:,[1-9][0-9]*)*)", text):
        return VersionPolicy(specific=tuple(sorted({int(version) for version in match[1].split(",")})))
    raise UsageError(
        f"`version_policy={text}` is not a version policy of Triton's", hint="use all, latest:2 or specific:1,3"
    )


@dataclass(frozen=True, kw_only=True)
class QueuePolicy:
    """How long requests may wait for a batch, and how many of them; 0 is without limit."""

    timeout_action: TimeoutAction = "reject"
    default_timeout_us: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0


def read_queue_policy(
    queue_timeout_us: Annotated[
        int | None, Option("The longest wait in the queue; by default no limit.", minimum=1, group=_QUEUE)
    ] = None,
    timeout_action: Annotated[
        TimeoutAction | None, Option("On `queue_timeout_us`: reject (default) or delay.", group=_QUEUE)
    ] = None,
    timeout_override: Annotated[bool, Option("Let a request set its own timeout.", group=_QUEUE)] = False,
    max_queue_size: Annotated[
        int | None, Option("Reject requests when this many are waiting.", minimum=1, group=_QUEUE)
    ] = None,
) -> QueuePolicy | None:
    """The queue policy, if any of it is asked for."""
    if (timeout_action or timeout_override) and queue_timeout_us is None:
        raise UsageError("`timeout_action` and `timeout_override` need a `queue_timeout_us`")
    if queue_timeout_us is None and max_queue_size is None:
        return None
    return QueuePolicy(
        timeout_action=timeout_action or "reject",
        default_timeout_us=queue_timeout_us or 0,
        allow_timeout_override=timeout_override,
        max_queue_size=max_queue_size or 0,
    )


@dataclass(frozen=True)
class Devices:
    """Where instances run; without a kind, on every GPU of the machine that serves, or on its CPU if it has none."""

    kind: InstanceKind | None = None
    gpus: tuple[int, ...] = ()


def read_devices(
    cpu: Annotated[bool, Option("Serve on the CPU, even if there are GPUs.", group=_DEVICES)] = False,
    gpu: Annotated[
        str | None, Option("Serve on GPUs only: on all, or on these.", metavar="all|0,1", group=_DEVICES, joined=True)
    ] = None,
) -> Devices:
    """The devices to serve on; UsageError where both kinds are asked for."""
    if cpu and gpu:
        raise UsageError("`cpu` and `gpu` exclude each other")
    if gpu is None:
        return Devices("cpu" if cpu else None)
    return Devices("gpu", () if gpu == "all" else _read_numbers("gpu", gpu))


def read_batch_sizes(
    preferred_batch_size: Annotated[
        str | None, Option("Batch sizes to wait for.", metavar="4,8", group=_BATCHING, joined=True)
    ] = None,
) -> tuple[int, ...]:
    """Read `4,8`."""
    return () if preferred_batch_size is None else _read_numbers("preferred_batch_size", preferred_batch_size)


def _read_numbers(field_name: str, text: str) -> tuple[int, ...]:
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in numbers):
        raise UsageError(f"`{field_name}={text}` is not a list of numbers", hint=f"write it as `{field_name}=1,2`")
    return tuple(_within_int32(int(part), f"`{field_name}={text}`") for part in numbers)


def _within_int32(number: int, named: str) -> int:
    if number >= 2**31:
        raise UsageError(f"{named} is too large", hint=f"the most is {2**31 - 1:,}")
    return number


@dataclass(frozen=True)
class WarmupInput:
    """One input of a warm-up request: Triton's wire bytes of a single sample, dims without the batch axis."""

    name: str
    config_type: str
    dims: tuple[int, ...]
    file_name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class BackendSettings:
    """What serves the model, its parameters, and why, by path in config.pbtxt; `runs` is what an instance is.

    `batches_optional` says that it can batch while an input is left out.
    """

    name: str = "onnxruntime"
    platform: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    runs: str = "ONNX Runtime session"
    batches_optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """Everything about a configuration that does not follow from the model's signature; None and 0 leave it out."""

    name: str = ""
    backend: BackendSettings = BackendSettings()
    devices: Annotated[Devices, Made(read_devices)] = Devices()
    instances: Annotated[
        int | None, Option("ONNX Runtime sessions on each device; by default 1.", minimum=1, group=_DEVICES)
    ] = None
    threads: Annotated[int | None, Option("Threads within an operator.", minimum=0, group=_DEVICES)] = None
    parallel_threads: Annotated[
        int | None, Option("Threads across branches of the graph.", minimum=0, group=_DEVICES)
    ] = None
    optimization: Annotated[
        Optimization | None,
        Option(
            "An accelerator; tensorrt also takes its keys, as in tensorrt:fp16,trt_engine_cache_enable=1.",
            metavar="tensorrt[:fp16]|cuda|openvino",
            group=_DEVICES,
            read=parse_optimization,
        ),
    ] = None
    max_queue_delay_us: Annotated[
        int | None, Option("Microseconds to wait for a fuller batch; by default 0.", minimum=0, group=_BATCHING)
    ] = None
    preferred_batch_sizes: Annotated[tuple[int, ...], Made(read_batch_sizes)] = ()
    preserve_ordering: Annotated[bool, Option("Answer in the order of the requests.", group=_BATCHING)] = False
    queue_policy: Annotated[QueuePolicy | None, Made(read_queue_policy)] = None
    priority_levels: Annotated[
        int, Option("Number of request priorities; 1 is served first.", minimum=0, group=_QUEUE)
    ] = 0
    default_priority_level: Annotated[
        int | None, Option("Priority of requests that set none; by default the last.", minimum=1, group=_QUEUE)
    ] = None
    response_cache: Annotated[bool, Option("Answer repeated requests from Triton's cache.", group=_SERVING)] = False
    version_policy: Annotated[
        VersionPolicy | None,
        Option(
            "The versions to serve; by default the newest.",
            metavar="all|latest:2|specific:1,3",
            group=_SERVING,
            read=parse_version_policy,
        ),
    ] = None
    label_files: Mapping[str, str] = field(default_factory=dict)
    warmup: tuple[WarmupInput, ...] = ()
    warmup_batch_sizes: tuple[int, ...] = (1,)
    sequences: SequenceBatching | None = None

    @property
    def kind(self) -> InstanceKind | None:
        """The kind of device; None leaves it to the machine that serves."""
        return self.devices.kind

    @property
    def gpus(self) -> tuple[int, ...]:
        """The GPUs to serve on; none means all of them."""
        return self.devices.gpus
