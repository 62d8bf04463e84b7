"""Load another framework's model with a real Triton that has the backend, and ask it for answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError, VerificationError
from serve_deploy.frameworks.artefact import Artefact
from serve_deploy.manifest import Verification
from serve_deploy.model_config import CONFIG_NAME
from serve_deploy.packaging.findings import Findings
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.progress import Progress
from serve_deploy.tensors.closeness import SERVED, compare
from serve_deploy.tensors.types import TensorSpec
from serve_deploy.triton import RuntimeName, ServerOptions, TritonServer, start_server
from serve_deploy.triton.lacking import explain_lack
from serve_deploy.triton.log import read_models
from serve_deploy.triton.runtimes import known_runtimes

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, np.ndarray[Any, Any]]

# What the embedded Triton has beside our stand-in for ONNX Runtime's backend.
_EMBEDDED = ("python",)
# Until a batch forms: a quick model answers each request before the next one waits.
_ROUNDS, _REPEATS = 5, 8


class NotVerified(Exception):
    """No Triton here has what the model needs; `reason` says what is missing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def verify_load(
    folder: Path, backend: str, findings: Findings, config: Any, options: PackageOptions, progress: Progress
) -> Verification:
    """Load the staged model strictly as configured, and send it the samples; alone and in batches alike.

    Raises NotVerified where no Triton here has the backend, InvalidModelError where Triton refuses the model, and
    VerificationError where an answer is not of the configured type and shape, or changes in a batch.
    """
    runtime = _choose_runtime(backend, options.runtime)
    server_options = ServerOptions(
        repository=folder.parent, auto_complete=False, runtime=runtime, release=options.release
    )
    with start_server(server_options, progress=progress) as server:
        _require_ready(server, folder.name)
        progress(f"asking {folder.name}")
        requests, largest = _ask(server, folder.name, findings, int(config.max_batch_size))
        logged = read_models(server.log_text()).get(folder.name)
        return Verification(
            runtime=server.runtime,
            triton_version=server.version,
            requests=requests,
            largest_batch_executed=largest,
            tensors=(),
            load_seconds=logged.load_seconds if logged else 0.0,
            memory_bytes=server.memory_bytes(),
            distinct_samples=len(findings.samples),
            reference=None,
        )


def ask_model_for_config(model: Path, artefact: Artefact, runtime: RuntimeName | None, progress: Progress) -> Any:
    """The configuration that a Python model's auto_complete_config completes; it is run, within a real Triton."""
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from serve_deploy.endpoint.address import parse_endpoint
    from serve_deploy.endpoint.control import ControlPlane

    (model / CONFIG_NAME).write_text('backend: "python"\n', encoding="utf-8")
    progress(f"asking {artefact.source.name} for its tensors")
    with start_server(ServerOptions(repository=model.parent, runtime=runtime), progress=progress) as server:
        _require_ready(server, model.name)
        with ControlPlane(parse_endpoint(server.grpc_url), timeout_seconds=60) as control:
            return ParseDict(control.model_config(model.name), ModelConfig(), ignore_unknown_fields=True)


def _choose_runtime(backend: str, asked: RuntimeName | None) -> RuntimeName | None:
    """The runtime to load with; None is the first that is there, which every backend of `_EMBEDDED` may take."""
    if asked == "embedded" and backend not in _EMBEDDED:
        raise NotVerified(f"the embedded Triton has no {backend} backend")
    if asked is not None or backend in _EMBEDDED:
        return asked
    for runtime in known_runtimes():
        if runtime.name != "embedded" and runtime.why_unavailable() is None:
            return runtime.name
    raise NotVerified(
        f"no Triton here has the {backend} backend; Docker, or NVIDIA's tritonserver on PATH, would bring it"
    )


def _require_ready(server: TritonServer, name: str) -> None:
    states = [state for state in server.model_states() if state.name == name]
    for state in states:
        if state.state == "READY":
            continue
        lack = explain_lack(state.reason)
        if lack is not None:
            raise NotVerified(lack)
        raise InvalidModelError(
            f"Triton refuses to load {name}: {state.reason or 'it does not say why'}",
            hint="nothing was written; `verify=False` skips this",
        )
    if not states:
        raise InvalidModelError(f"Triton does not see {name} in its repository")


def _ask(server: TritonServer, name: str, findings: Findings, max_batch_size: int) -> tuple[int, int]:
    """Send each sample alone, then all at once: how many requests, and the largest batch that formed."""
    from serve_deploy.packaging.verification.client import VerificationClient

    if not findings.samples:
        return 0, 0
    with VerificationClient(server.grpc_url, name, taken="") as client:
        alone = [client.infer(sample) for sample in findings.samples]
        for answer in alone:
            _require_configured(name, answer, findings.signature.outputs)
        requests = len(alone)
        rounds = _ROUNDS if max_batch_size > 1 else 0
        while rounds and client.largest_batch() < 2:
            rounds -= 1
            _require_same(name, alone * _REPEATS, client.infer_together(list(findings.samples) * _REPEATS))
            requests += len(alone) * _REPEATS
        return requests, client.largest_batch()


def _require_configured(name: str, answer: Arrays, outputs: Sequence[TensorSpec]) -> None:
    for spec in outputs:
        if spec.name not in answer:
            raise VerificationError(f"{name} does not return '{spec.name}'", hint="nothing was written")
        shape = answer[spec.name].shape
        if not spec.fits(shape) and spec.shape:
            raise VerificationError(
                f"{name} returns '{spec.name}' as {list(shape)}, and its signature says {list(spec.shape)}",
                hint="nothing was written; correct `signature`",
            )


def _require_same(name: str, alone: Sequence[Arrays], together: Sequence[Arrays]) -> None:
    for one, other in zip(alone, together, strict=True):
        for output, array in one.items():
            difference = compare(other[output], array, SERVED)
            if difference.problem:
                raise VerificationError(
                    f"{name}: '{output}' {difference.problem} when requests run together",
                    hint="nothing was written; `max_batch_size=0` runs every request alone",
                )
