"""Open a model in ONNX Runtime, see what it reports, and run it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.model import OnnxModel
from serve_deploy.onnx.session_run import describe_error, run_session
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

Arrays = Mapping[str, np.ndarray[Any, Any]]
Run = Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]

_SESSION_TYPES = {
    "float": DataType.FP32, "double": DataType.FP64, "float16": DataType.FP16, "bfloat16": DataType.BF16,
    "string": DataType.BYTES, "bool": DataType.BOOL, "int8": DataType.INT8, "int16": DataType.INT16,
    "int32": DataType.INT32, "int64": DataType.INT64, "uint8": DataType.UINT8, "uint16": DataType.UINT16,
    "uint32": DataType.UINT32, "uint64": DataType.UINT64,
}  # fmt: skip


def open_session(model: OnnxModel, *, content: bytes | None = None, repack: bool = True) -> Any:
    """Load the model into ONNX Runtime on the CPU; InvalidModelError in its own words if it refuses.

    `content` stands for the model's file, with external data in the same place. Without `repack`, weights stay in
    their files and unread until a run needs them: slower to run, but 1.5 GB of them cost no memory.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not repack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if content is not None:
        options.add_session_config_entry(_EXTERNAL_FOLDER_KEY, str(model.path.parent.resolve()))
    try:
        return _create_session(str(model.path) if content is None else content, options)
    except Exception as error:
        raise InvalidModelError(
            f"ONNX Runtime refuses {model.path}: {describe_error(error)}", hint=_refusal_hint(model, str(error))
        ) from error


_EXTERNAL_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


def _create_session(source: str | bytes, options: Any) -> Any:
    """Create a session; where StringNormalizer lacks its locale, give it one with the same tables and try again."""
    import onnxruntime

    from serve_deploy.onnx.string_locale import provide_locale

    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if "locale" not in str(error) or not provide_locale():
            raise
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _refusal_hint(model: OnnxModel, error: str) -> str:
    if model.custom_domains:
        return f"it uses operators of {', '.join(model.custom_domains)}, which Triton needs an extra library for"
    if "locale" in error:
        return (
            "StringNormalizer needs the locale en_US.UTF-8: install it here and in Triton's image, or let --fix set "
            "C.UTF-8"
        )
    if "Could not find an implementation" in error or "NOT_IMPLEMENTED" in error:
        return "where only a GPU can run it: --no-verify --max-batch-size N packages it without running it"
    return "check it with onnx.checker, or export it again"


def session_signature(session: Any, model: OnnxModel) -> ModelSignature:
    """What ONNX Runtime reports after its own shape inference, which is what Triton compares a configuration with."""
    left_out = {tensor.name for tensor in model.unsupported}
    inputs = _session_specs(session.get_inputs())
    inputs += _session_specs(session.get_overridable_initializers(), optional=True)
    return ModelSignature(
        inputs=tuple(tensor for tensor in inputs if tensor.name not in left_out),
        outputs=_session_specs(session.get_outputs()),
    )


def _session_specs(values: Iterable[Any], *, optional: bool = False) -> tuple[TensorSpec, ...]:
    specs = []
    for value in values:
        element = str(value.type).removeprefix("tensor(").removesuffix(")")
        if element in _SESSION_TYPES:
            dims = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in value.shape)
            specs.append(TensorSpec(value.name, _SESSION_TYPES[element], dims, optional=optional))
    return tuple(specs)


def session_runner(session: Any, *, timeout_seconds: float | None = None) -> Run:
    """Make a function that runs one request; BF16 travels as float32. It raises InvalidModelError in ORT's words."""
    return partial(run_session, session, timeout_seconds=timeout_seconds)
