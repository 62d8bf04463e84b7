"""From what an artefact tells and what the user gives to what is configured: tensors, batching, backend, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from serve_deploy.errors import UsageError
from serve_deploy.frameworks.artefact import Artefact
from serve_deploy.frameworks.given_signature import CompleteSignature
from serve_deploy.manifest import BatchingProof, FrameworkModel
from serve_deploy.model_config import ConfigOptions
from serve_deploy.model_config.build import require_batch_axis
from serve_deploy.model_config.options import BackendSettings, Devices
from serve_deploy.option import changed_fields
from serve_deploy.packaging.options import ONNX_RUNTIME_ONLY, PackageOptions
from serve_deploy.tensors.types import ModelSignature

_ONNX_ONLY = ("fix", "profiles", "engine_cache", "sequences")
_GIVEN = "given by the user"
_RUNS = {
    "fil": "copy of the trees", "tensorrt": "execution context of the plan", "python": "Python process",
    "pytorch": "copy of the model", "tensorflow": "copy of the model", "openvino": "inference request",
}  # fmt: skip


def require_framework_options(artefact: Artefact, options: PackageOptions) -> None:
    """UsageError for an option that has no meaning for another framework's model."""
    wrong = next(chain(changed_fields(options, _ONNX_ONLY), changed_fields(options.config, ONNX_RUNTIME_ONLY)), None)
    if wrong:
        raise UsageError(
            f"`{wrong}` is for ONNX models, and {artefact.source} is of {artefact.framework}",
            hint="leave it out; `parameters` sets what the backend reads",
        )


def on_devices(artefact: Artefact, config: ConfigOptions) -> ConfigOptions:
    """The options with the device that the backend needs; UsageError where another one was asked for."""
    if artefact.device is None:
        return config
    if config.kind not in (None, artefact.device):
        raise UsageError(
            f"`{config.kind}`: {artefact.source} runs on {artefact.device.upper()}s only", hint="leave it out"
        )
    return config if config.kind else replace(config, devices=Devices(artefact.device))


def decide_batching(artefact: Artefact, signature: ModelSignature, requested: int | None) -> BatchingProof:
    """How large a batch may be; nothing is run here, so that nothing is proven."""
    if requested is not None:
        _require_allowed(artefact, requested)
        require_batch_axis(signature, requested)
        size, evidence = requested, "max_batch_size was given; nothing was run here, so nothing is proven"
    elif artefact.rows_are_independent:
        size, evidence = (
            artefact.max_batch_size or 0,
            f"{artefact.rows_are_independent}; requests of more rows are refused",
        )
    elif artefact.max_batch_size is not None:
        size, evidence = artefact.max_batch_size, "what the model itself says"
    else:
        size, evidence = 0, "nothing was run here, and the file does not tell"
    can_batch = requested is None and not size and artefact.max_batch_size is None and not signature.batch_obstacle
    return BatchingProof(
        verdict="undecided",
        max_batch_size=size,
        evidence=evidence,
        next_step="`max_batch_size=8`, where the first dimension of each tensor is a batch" if can_batch else None,
    )


def _require_allowed(artefact: Artefact, requested: int) -> None:
    if artefact.platform == "torch_aoti" and requested:
        raise UsageError(
            f"`max_batch_size={requested}`: Triton does not batch what AOTInductor compiled", hint="leave it out"
        )
    if artefact.backend == "fil" and not requested:
        raise UsageError("`max_batch_size=0`: Triton's FIL backend takes batches of rows only", hint="leave it out")


def describe_backend(
    artefact: Artefact, complete: CompleteSignature, batching: BatchingProof, options: PackageOptions
) -> BackendSettings:
    """Backend, parameters and reasons as config.pbtxt shows them."""
    given = options.framework.named_parameters
    parameters = {**artefact.parameters, **given}
    if artefact.backend == "openvino" and batching.max_batch_size:
        parameters.setdefault("ENABLE_BATCH_PADDING", "YES")
    reasons = {
        **artefact.reasons,
        **dict(_explain_tensors(artefact, complete)),
        **{f"parameters[{name}]": "chosen by the user" for name in given},
    }
    runs = _RUNS.get(artefact.backend, "instance")
    return BackendSettings(artefact.backend, artefact.platform, parameters, reasons, runs)


def _explain_tensors(artefact: Artefact, complete: CompleteSignature) -> Iterator[tuple[str, str]]:
    """The reason for each line of a tensor: given, else what the artefact says of all of its kind, else read."""
    for kind, specs in (("input", complete.signature.inputs), ("output", complete.signature.outputs)):
        for index, spec in enumerate(specs):
            given = complete.given.get((kind, spec.name), ())
            for field, part in (("name", "name"), ("data_type", "type")):
                read = artefact.reasons.get(f"{kind}.{field}", f"read from {artefact.tensors_from}")
                yield f"{kind}[{index}].{field}", _GIVEN if part in given else read
            dims = _GIVEN if "shape" in given else artefact.reasons.get(f"{kind}.dims")
            if dims:
                yield f"{kind}[{index}].dims", dims


def describe_framework(artefact: Artefact, complete: CompleteSignature, not_verified: str) -> FrameworkModel:
    """What the manifest says of the framework."""
    given = (
        f"{', '.join(parts)} of {kind} '{name}'" for (kind, name), parts in complete.given.items() if parts
    )  # fmt: skip
    return FrameworkModel(
        framework=artefact.framework,
        backend=artefact.backend,
        platform=artefact.platform,
        version=artefact.version,
        facts=artefact.facts,
        tensors_from=artefact.tensors_from,
        given=tuple(given),
        not_verified=not_verified,
    )
