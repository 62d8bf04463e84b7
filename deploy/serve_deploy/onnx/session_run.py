"""Run one request through an ONNX Runtime session, BF16 included, with an end to runs that take too long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError
from serve_deploy.tensors.wire import from_bfloat16_bits, to_bfloat16_bits

_BFLOAT16 = 16  # TensorProto.BFLOAT16


def run_session(
    session: Any, inputs: Mapping[str, np.ndarray[Any, Any]], *, timeout_seconds: float | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Run the inputs and return every output that is a tensor; raises InvalidModelError in ONNX Runtime's words."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    # In a thread of its own: a run holds its thread until it ends, and Ctrl-C has to end it before that.
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(_run, session, inputs, options)
        try:
            return running.result(timeout_seconds)
        except TimeoutError:
            options.terminate = True
            running.exception()
            raise InvalidModelError(f"the run did not end within {timeout_seconds:g} s") from None
        except Exception as error:
            raise InvalidModelError(describe_error(error)) from error
        finally:
            options.terminate = True


def _run(session: Any, inputs: Mapping[str, np.ndarray[Any, Any]], options: Any) -> dict[str, np.ndarray[Any, Any]]:
    outputs = [output for output in session.get_outputs() if str(output.type).startswith("tensor(")]
    names = [output.name for output in outputs]
    types = {value.name: str(value.type) for value in (*session.get_inputs(), *outputs)}
    if "tensor(bfloat16)" not in types.values():
        return dict(zip(names, session.run(names, dict(inputs), options), strict=True))
    return _run_bfloat16(session, inputs, names, types, options)


def _run_bfloat16(
    session: Any, inputs: Mapping[str, np.ndarray[Any, Any]], names: list[str], types: dict[str, str], options: Any
) -> dict[str, np.ndarray[Any, Any]]:
    from onnxruntime import OrtValue

    feeds = {
        name: OrtValue.ortvalue_from_numpy_with_onnx_type(to_bfloat16_bits(array), _BFLOAT16)
        if types.get(name) == "tensor(bfloat16)"
        else OrtValue.ortvalue_from_numpy(array)
        for name, array in inputs.items()
    }
    values = session.run_with_ort_values(names, feeds, options)
    return {
        name: from_bfloat16_bits(_bits(value)) if types[name] == "tensor(bfloat16)" else value.numpy()
        for name, value in zip(names, values, strict=True)
    }


def _bits(value: Any) -> np.ndarray[Any, Any]:
    import ctypes

    count = int(np.prod(value.shape()))
    if not count:
        return np.zeros(value.shape(), np.uint16)
    buffer = (ctypes.c_uint16 * count).from_address(value.data_ptr())
    return np.ctypeslib.as_array(buffer).reshape(value.shape()).copy()


def describe_error(error: BaseException) -> str:
    """ONNX Runtime's own words in one line, without its prefix and source positions."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", text)
    text = re.sub(r"^Load model from \S+ failed:", "", text)
    text = re.sub(r"/\S+\.(?:cc|h):\d+ .*?(?=\w+ was false|Exception|\[ONNXRuntimeError\]|$)", "", text) or text
    # One error around another: what is inside says why.
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : (?:\S+\.(?:cc|h):\d+ \w+ )?", "", text)
    return text.strip()[:400]
