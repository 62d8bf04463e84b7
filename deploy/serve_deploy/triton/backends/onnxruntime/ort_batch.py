"""Execution: the requests of one dynamic batch become one run, and its outputs their responses."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from onnxruntime.capi.onnxruntime_pybind11_state import OrtDevice, OrtValue
from ort_contract import Signature
from ort_session import describe_error

_ONNX_BFLOAT16 = 16
_CPU = OrtDevice(OrtDevice.cpu(), OrtDevice.default_memory(), 0)
# Up to here strings travel in an array of the longest one's width, which ONNX Runtime reads without decoding them.
_MAX_FIXED_WIDTH_BYTES = 1 << 26


class Execution:
    """A session and what is needed to feed it; arrays come straight from Triton's shared memory, without a copy."""

    def __init__(self, session: Any, options: Any, signature: Signature, config: dict[str, Any]) -> None:
        self._session = session
        self._options = options
        self._batching = config.get("max_batch_size", 0) > 0
        known = signature.inputs | signature.overridable
        self._types = {tensor.name: tensor.type for tensor in (*known.values(), *signature.outputs.values())}
        self._strings = {tensor.name for tensor in known.values() if tensor.type == "STRING"}
        self._scalars = {tensor.name for tensor in known.values() if not tensor.shape}
        self._scalar_dims = _scalar_output_dims(signature, config)
        self._run = self._run_values if "BF16" in self._types.values() else self._run_arrays

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order; with max_batch_size 0 each request is a run of its own."""
        if not self._batching:
            return [response for request in requests for response in self._answer_batch([request])]
        return self._answer_batch(requests)

    def _answer_batch(self, requests: Sequence[Any]) -> list[Any]:
        try:
            wanted = [request.requested_output_names() for request in requests]
            names = wanted[0] if len(wanted) == 1 else list(dict.fromkeys(name for names in wanted for name in names))
            feeds, sizes = self._collect(requests)
            outputs = dict(zip(names, self._run(names, feeds), strict=True))
            return self._respond(wanted, outputs, sizes)
        except Exception as error:  # noqa: BLE001 - one batch's error must not end the instance
            failure = pb_utils.TritonError(describe_error(error))
            return [pb_utils.InferenceResponse(output_tensors=[], error=failure) for _ in requests]

    def _collect(self, requests: Sequence[Any]) -> tuple[dict[str, Any], list[int]]:
        """Each input over all requests, and the batch size of each request where there is more than one."""
        if len(requests) == 1:
            feeds = {tensor.name(): self._read(tensor) for tensor in requests[0].inputs()}
            sizes = []
        else:
            read = [{tensor.name(): self._read(tensor) for tensor in request.inputs()} for request in requests]
            feeds = {name: np.concatenate([arrays[name] for arrays in read]) for name in read[0]}
            sizes = [len(next(iter(arrays.values()))) for arrays in read]
        for name in self._strings & feeds.keys():
            feeds[name] = _as_c_strings(feeds[name])
        for name in self._scalars & feeds.keys():
            feeds[name] = feeds[name].reshape(())
        return feeds, sizes

    def _read(self, tensor: Any) -> np.ndarray:
        if self._types[tensor.name()] != "BF16":
            return tensor.as_numpy()
        return _read_bfloat16(tensor.to_dlpack())

    def _run_arrays(self, names: list[str], feeds: dict[str, Any]) -> list[np.ndarray]:
        return self._session.run(names, feeds, self._options)

    def _run_values(self, names: list[str], feeds: dict[str, Any]) -> list[np.ndarray]:
        """For models with BF16, a type that numpy lacks: it travels as uint16 on both sides of ONNX Runtime."""
        values = {}
        for name, array in feeds.items():
            if self._types[name] == "BF16":
                values[name] = OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _ONNX_BFLOAT16)
            else:
                values[name] = OrtValue.ortvalue_from_numpy(array, _CPU)
        outputs = self._session._sess.run_with_ort_values(values, names, self._options)
        return [
            _copy_bfloat16(value.data_ptr(), value.shape()) if self._types[name] == "BF16" else value.numpy()
            for name, value in zip(names, outputs, strict=True)
        ]

    def _respond(self, wanted: list[list[str]], outputs: dict[str, np.ndarray], sizes: list[int]) -> list[Any]:
        for name in self._scalar_dims.keys() & outputs.keys():
            if outputs[name].ndim == 0:
                outputs[name] = outputs[name].reshape(self._scalar_dims[name])
        if len(wanted) == 1:
            return [pb_utils.InferenceResponse([self._write(name, outputs[name]) for name in wanted[0]])]
        responses, start = [], 0
        for names, size in zip(wanted, sizes, strict=True):
            tensors = [self._write(name, outputs[name][start : start + size]) for name in names]
            responses.append(pb_utils.InferenceResponse(tensors))
            start += size
        return responses

    def _write(self, name: str, array: np.ndarray) -> Any:
        if self._types[name] == "BF16":
            value = OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _ONNX_BFLOAT16)
            return pb_utils.Tensor.from_dlpack(name, value.to_dlpack())
        return pb_utils.Tensor(name, array)


def _scalar_output_dims(signature: Signature, config: dict[str, Any]) -> dict[str, list[int]]:
    # A scalar has the dims of its configuration, which are all 1.
    return {
        entry["name"]: [int(dim) for dim in entry["dims"]]
        for entry in config.get("output", [])
        if not signature.outputs[entry["name"]].shape
    }


def _as_c_strings(array: np.ndarray) -> np.ndarray:
    """Triton's bytes as ONNX Runtime takes them: each ends at its first NUL, as in the native backend."""
    if array.size == 0:
        return array
    flat = array.reshape(-1).tolist()
    # ONNX Runtime reads each up to a NUL, and beyond the array where there is none.
    width = max(map(len, flat)) + 1
    if array.size * width <= _MAX_FIXED_WIDTH_BYTES:
        return array.astype(f"S{width}")
    cut = np.empty(array.size, dtype=object)
    cut[:] = [text.partition(b"\0")[0].decode("utf-8", errors="replace") for text in flat]
    return cut.reshape(array.shape)


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
    )


def _read_bfloat16(capsule: Any) -> np.ndarray:
    # numpy's from_dlpack refuses the type, and ONNX Runtime's has changed its arguments between versions.
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    tensor = _DLTensor.from_address(get_pointer(capsule, b"dltensor"))
    return _copy_bfloat16(tensor.data, tensor.shape[: tensor.ndim])


def _copy_bfloat16(address: int, shape: Sequence[int]) -> np.ndarray:
    """The bits of BF16 values as uint16; a copy, because whoever owns the memory may go before the array."""
    array = np.empty(tuple(shape), np.uint16)
    if array.size:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
    return array
