"""What the backends of other frameworks refuse in a configuration.

Sources: fil_backend, src/shared_state.h and docs/model_config.md; pytorch_backend, src/pt/model_instance_state.cc and
README.md; openvino_backend, src/openvino.cc; tensorrt_backend, src/tensorrt.cc.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.problem import Problem, did_you_mean

# FIL's model_type, and the file that it looks for.
FIL_FILES = {
    "xgboost": "xgboost.model", "xgboost_json": "xgboost.json", "xgboost_ubj": "xgboost.ubj",
    "lightgbm": "model.txt", "treelite_checkpoint": "checkpoint.tl",
}  # fmt: skip
_FIL_TENSORS = {"input": ("input__0",), "output": ("output__0", "treeshap_output")}
_FIL_RENAMED = {"algo": "layout", "threads_per_tree": "chunk_size", "output_class": "is_classifier"}
_FIL_REMOVED = ("storage_type", "blocks_per_sm")


def fil_file(config: Any) -> str:
    """What FIL calls the model's file; "" for an unknown type."""
    return FIL_FILES.get(_parameters(config).get("model_type", "xgboost"), "")


def position_in_name(name: str) -> int | None:
    """The N of NAME__N as PyTorch's backend reads it, behind the first two underscores; None where there is none."""
    _name, underscores, digits = name.partition("__")
    return int(digits) if underscores and digits.isascii() and digits.isdigit() else None


def backend_of(config: Any) -> str:
    """The backend of a framework's model, by name or platform."""
    platforms = {"tensorrt_plan": "tensorrt", "pytorch_libtorch": "pytorch", "torch_aoti": "pytorch",
                 "tensorflow_savedmodel": "tensorflow", "tensorflow_graphdef": "tensorflow"}  # fmt: skip
    return str(config.backend or platforms.get(config.platform, ""))


def check_framework(config: Any) -> Iterator[Problem]:
    """The rules of the one backend that serves it."""
    rules = {"fil": _check_fil, "pytorch": _check_pytorch, "tensorrt": _check_tensorrt, "openvino": _check_openvino}
    rule = rules.get(backend_of(config))
    # With a runtime of its own, such as a model.py, the backend reads something else.
    if rule is not None and not config.runtime:
        yield from rule(config)


def note_framework(config: Any) -> Iterator[str]:
    """What the backend takes otherwise than it reads."""
    backend, parameters = backend_of(config), _parameters(config)
    if backend == "fil":
        for old, new in _FIL_RENAMED.items():
            if old in parameters:
                yield f"parameters[{old}] was renamed to {new} in Triton 25.09"
        for old in _FIL_REMOVED:
            if old in parameters:
                yield f"parameters[{old}] is read by nobody since Triton 25.09"
    if backend == "pytorch" and config.platform != "torch_aoti":
        indexed = [position_in_name(tensor.name) is not None for tensor in config.output]
        if any(indexed) and not all(indexed):
            yield "not all outputs are called NAME__0, NAME__1, …: Triton takes them in the order of their listing"
    if backend == "openvino" and config.max_batch_size > 1 and parameters.get("ENABLE_BATCH_PADDING") != "YES":
        size = config.max_batch_size
        yield f"every batch of other than {size} is an error: parameters[ENABLE_BATCH_PADDING] with YES pads it"


def _check_fil(config: Any) -> Iterator[Problem]:
    parameters = _parameters(config)
    kind = parameters.get("model_type", "xgboost")
    if kind not in FIL_FILES:
        fix = did_you_mean(kind, FIL_FILES) or f"write one of {', '.join(FIL_FILES)}"
        yield Problem("parameters[model_type]", f"'{kind}' is not a type of the FIL backend", fix)
    classifier = parameters.get("is_classifier", parameters.get("output_class"))
    if classifier is None:
        yield Problem("parameters[is_classifier]", "it is missing, and has no default", "write true or false")
    elif classifier == "true" and "threshold" not in parameters:
        yield Problem("parameters[threshold]", "it is missing, and classifiers have no default", "write 0.5")
    for side, names in _FIL_TENSORS.items():
        for index, tensor in enumerate(getattr(config, side)):
            where = f"{side}[{index}]"
            if tensor.name not in names:
                message = f"FIL has no {side} '{tensor.name}'"
                yield Problem(f"{where}.name", message, f"write {names[0]}")
            if tensor.data_type not in (0, _fp32()):
                yield Problem(f"{where}.data_type", "FIL computes in FP32 only", "write TYPE_FP32")


def _fp32() -> int:
    from tritonclient.grpc.model_config_pb2 import DataType

    return int(DataType.Value("TYPE_FP32"))


def _check_pytorch(config: Any) -> Iterator[Problem]:
    if config.platform != "torch_aoti":
        for side in ("input", "output"):
            if not getattr(config, side):
                message = f"no {side} is listed, and PyTorch's backend adds none"
                yield Problem(side, message, "list the tensors with their types and dims")
        return
    if config.max_batch_size > 1:
        message = f"{config.max_batch_size}: Triton does not batch what AOTInductor compiled"
        yield Problem("max_batch_size", message, "write max_batch_size: 0 and complete dims")
    if config.HasField("sequence_batching"):
        message = "Triton keeps no sequences for what AOTInductor compiled"
        yield Problem("sequence_batching", message, "remove it")


def _check_tensorrt(config: Any) -> Iterator[Problem]:
    yield from _check_kind(config, "KIND_CPU", "a TensorRT plan runs on GPUs only")


def _check_openvino(config: Any) -> Iterator[Problem]:
    yield from _check_kind(config, "KIND_GPU", "the OpenVINO backend takes KIND_CPU and KIND_AUTO only")


def _check_kind(config: Any, wrong: str, message: str) -> Iterator[Problem]:
    for index, group in enumerate(config.instance_group):
        if type(group).Kind.Name(group.kind) == wrong:
            yield Problem(f"instance_group[{index}].kind", message, "remove kind")


def _parameters(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}
