"""What the model offers against what its configuration says, by the native backend's rules and in its words."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

# As the core's default for native backends, which --backend-config=default-max-batch-size= changes.
DEFAULT_MAX_BATCH_SIZE = int(os.environ.get("SERVE_DEFAULT_MAX_BATCH_SIZE", "4"))

_TYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float": "FP32", "double": "FP64",
    "bfloat16": "BF16", "string": "STRING",
}  # fmt: skip
_ONNX_KINDS = {"seq": "SEQUENCE", "map": "MAP", "optional": "OPTIONAL", "sparse_tensor": "SPARSETENSOR"}
_CONTROLS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_CORRID")


class RefusedError(Exception):
    """The model cannot be served as it is configured."""


@dataclass(frozen=True)
class OrtTensor:
    """An input or output as ONNX Runtime reports it; free dims are -1, `type` is without TYPE_."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """A loaded session's inputs, the initializers a request may override, and its outputs, by name."""

    inputs: dict[str, OrtTensor]
    overridable: dict[str, OrtTensor]
    outputs: dict[str, OrtTensor]


def read_signature(session: Any) -> Signature:
    """Read the session's tensors; raises RefusedError for any that is no tensor."""
    return Signature(
        inputs=_read_tensors(session.get_inputs()),
        overridable=_read_tensors(session.get_overridable_initializers()),
        outputs=_read_tensors(session.get_outputs()),
    )


def _read_tensors(arguments: Iterable[Any]) -> dict[str, OrtTensor]:
    tensors = {}
    for argument in arguments:
        kind, _, inner = argument.type.partition("(")
        if kind != "tensor":
            raise RefusedError(
                f"Unsupported ONNX Type 'ONNX_TYPE_{_ONNX_KINDS.get(kind, kind.upper())}' for I/O '{argument.name}', "
                "expected 'ONNX_TYPE_TENSOR'."
            )
        shape = tuple(dim if isinstance(dim, int) else -1 for dim in argument.shape)
        tensors[argument.name] = OrtTensor(argument.name, _TYPES.get(inner.rstrip(")"), "INVALID"), shape)
    return tensors


def complete_config(config: dict[str, Any], signature: Signature) -> None:
    """Complete a configuration without inputs or outputs, in place."""
    tensors = [*signature.inputs.values(), *signature.outputs.values()]
    batchable = all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
    if batchable:
        config["max_batch_size"] = config.get("max_batch_size") or DEFAULT_MAX_BATCH_SIZE
        if config["max_batch_size"] > 1 and "sequence_batching" not in config:
            config.setdefault("dynamic_batching", {})
    elif config.get("max_batch_size"):
        raise RefusedError(
            f"autofill failed for model '{config['name']}': model does not support batching while non-zero "
            "max_batch_size is specified"
        )
    batching = config["max_batch_size"] > 0
    if not config.get("input"):
        config["input"] = [_describe(tensor, batching) for tensor in signature.inputs.values()]
    if not config.get("output"):
        config["output"] = [_describe(tensor, batching) for tensor in signature.outputs.values()]


def _describe(tensor: OrtTensor, batching: bool) -> dict[str, Any]:
    dims = list(tensor.shape[1:] if batching else tensor.shape)
    described: dict[str, Any] = {"name": tensor.name, "data_type": f"TYPE_{tensor.type}", "dims": dims or [1]}
    if batching and not dims:
        described["reshape"] = {"shape": []}
    return described


def check_config(config: dict[str, Any], signature: Signature) -> None:
    """Raise RefusedError where the configuration does not fit the model, or asks what only the native backend does."""
    _refuse_native_only(config)
    _check_input_count(config, signature)
    known = signature.inputs | signature.overridable
    for entry in config.get("input", []):
        _check_input(config, entry, known)
    for entry in config.get("output", []):
        if entry["name"] not in signature.outputs:
            raise RefusedError(_unexpected("output", entry["name"], signature.outputs))
        _check_tensor(config, entry, signature.outputs[entry["name"]], "output")
    _check_controls(config, signature)


def _refuse_native_only(config: dict[str, Any]) -> None:
    asked = {
        "implicit state (sequence_batching.state)": config.get("sequence_batching", {}).get("state"),
        "ragged batching (batch_input)": config.get("batch_input"),
        "ragged batching (batch_output)": config.get("batch_output"),
        "ragged batching (allow_ragged_batch)": any(entry.get("allow_ragged_batch") for entry in config["input"]),
        "decoupled responses": config.get("model_transaction_policy", {}).get("decoupled"),
    }
    for feature, used in asked.items():
        if used:
            raise RefusedError(
                f"unable to load model '{config['name']}', {feature} needs the native onnxruntime backend "
                "of NVIDIA's container; this server's cannot do it"
            )


def _check_input_count(config: dict[str, Any], signature: Signature) -> None:
    required = [entry for entry in config.get("input", []) if not entry.get("optional")]
    expected = len(required) + len(_controls(config))
    if expected != len(signature.inputs):
        raise RefusedError(
            f"unable to load model '{config['name']}', configuration expects {expected} inputs, "
            f"model provides {len(signature.inputs)}"
        )


def _check_input(config: dict[str, Any], entry: dict[str, Any], known: dict[str, OrtTensor]) -> None:
    if entry.get("optional") and config.get("max_batch_size"):
        raise RefusedError(
            f"unable to load model '{config['name']}', optional input '{entry['name']}' is not supported for models "
            "that support batching"
        )
    if entry["name"] not in known:
        raise RefusedError(_unexpected("input", entry["name"], known))
    _check_tensor(config, entry, known[entry["name"]], "input")


def _unexpected(role: str, name: str, known: Iterable[str]) -> str:
    return f"unexpected inference {role} '{name}', allowed {role}s are: {', '.join(sorted(known))}"


def _check_tensor(config: dict[str, Any], entry: dict[str, Any], tensor: OrtTensor, role: str) -> None:
    if entry["data_type"] != f"TYPE_{tensor.type}":
        raise RefusedError(
            f"unable to load model '{config['name']}', configuration expects datatype {entry['data_type']} for {role} "
            f"'{tensor.name}', model provides TYPE_{tensor.type}"
        )
    dims = _config_dims(entry)
    if tensor.shape:
        _check_dims(config, tensor, dims, exact=role == "output")
    elif any(dim != 1 for dim in dims):
        raise RefusedError(
            f"unable to load model '{config['name']}', scalar tensor '{tensor.name}', should only provide 1 in the "
            "model configuration when the model doesn't support batching. Model configuration provided: "
            f"{format_shape(dims)}."
        )


def _config_dims(entry: dict[str, Any]) -> list[int]:
    dims = entry["reshape"].get("shape", []) if "reshape" in entry else entry["dims"]
    return [int(dim) for dim in dims]


def _check_dims(config: dict[str, Any], tensor: OrtTensor, dims: list[int], *, exact: bool) -> None:
    batching = config.get("max_batch_size", 0) > 0
    where = f"model '{config['name']}', tensor '{tensor.name}'"
    if batching and tensor.shape[0] != -1:
        raise RefusedError(
            f"{where}: for the model to support batching the shape should have at least 1 dimension and the first "
            f"dimension must be -1; but shape expected by the model is {format_shape(tensor.shape)}"
        )
    full = [-1, *dims] if batching else dims
    if len(full) == len(tensor.shape) and all(
        model == own or (model == -1 and not exact) for model, own in zip(tensor.shape, full, strict=True)
    ):
        return
    how = (
        f"dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, "
        f"making complete shape {format_shape(full)})"
        if batching
        else f"dimensions (shape {format_shape(full)})"
    )
    raise RefusedError(
        f"{where}: the model expects {len(tensor.shape)} dimensions (shape {format_shape(tensor.shape)}) but the model "
        f"configuration specifies {len(full)} {how}"
    )


def _check_controls(config: dict[str, Any], signature: Signature) -> None:
    for name, data_type in _controls(config).items():
        tensor = signature.inputs.get(name)
        if tensor is None:
            raise RefusedError(
                f"configuration specified sequence control '{name}', but model does not provide that input"
            )
        dims = tensor.shape[1:] if config.get("max_batch_size") else tensor.shape
        if list(dims) != [1]:
            raise RefusedError(
                f"unable to load model '{config['name']}', sequence control '{name}' in model has dims "
                f"{format_shape(dims)} but dims [1] is expected"
            )
        if data_type != f"TYPE_{tensor.type}":
            raise RefusedError(
                f"unable to load model '{config['name']}', sequence control '{name}', the model expects data-type "
                f"{tensor.type} but the model configuration specifies data-type {data_type}"
            )


def _controls(config: dict[str, Any]) -> dict[str, str]:
    """The tensors that carry sequence controls, with the type that the configuration gives them."""
    found = {}
    for entry in config.get("sequence_batching", {}).get("control_input", []):
        for control in entry.get("control", []):
            if control["kind"] in _CONTROLS:
                found[entry["name"]] = _control_type(control)
    return found


def _control_type(control: dict[str, Any]) -> str:
    for key, data_type in (("int32", "TYPE_INT32"), ("fp32", "TYPE_FP32"), ("bool", "TYPE_BOOL")):
        if control.get(f"{key}_false_true"):
            return data_type
    return str(control.get("data_type", ""))


def format_shape(shape: Sequence[int]) -> str:
    """A shape as Triton writes it, such as [-1,3]."""
    return f"[{','.join(map(str, shape))}]"
