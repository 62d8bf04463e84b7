"""Compare what a reply holds with what was expected of it. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.replies import Outputs, grpc_outputs, http_outputs
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, compare

Array = NDArray[Any]
Expected = dict[str, Array]


def difference(outputs: Outputs, expected: Expected) -> str | None:
    """What is wrong with the outputs, in words; None where all that was expected is there."""
    for name, wanted in expected.items():
        if name not in outputs:
            return f"output {name} is missing"
        got = outputs[name]
        if got.shape != wanted.shape:
            return f"output {name} has shape {list(got.shape)}, expected {list(wanted.shape)}"
        text = _difference(got, wanted)
        if text:
            return f"output {name}: {text}"
    return None


def _difference(got: Array, wanted: Array) -> str | None:
    if wanted.dtype.kind in "OSU":
        pairs = zip(map(_text, got.ravel()), map(_text, wanted.ravel()), strict=True)
        return next((f"{a!r} instead of {b!r}" for a, b in pairs if a != b), None)
    # Whoever computed the expected outputs may have done so in other types, integers included.
    return compare(np.asarray(got, np.float64), np.asarray(wanted, np.float64), COMPUTED_ELSEWHERE).problem


def _text(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)


def checked(read: Callable[[], Outputs], expected: Expected) -> str | None:
    """What is wrong with a reply, unreadable ones included."""
    try:
        return difference(read(), expected)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        return f"the reply cannot be read: {error}"


def check_grpc_reply(reply: bytes, expected: Expected) -> str | None:
    """What is wrong with a ModelInferResponse; None where nothing is."""
    return checked(lambda: grpc_outputs(reply), expected)


def check_http_reply(body: bytes, json_length: int | None, expected: Expected) -> str | None:
    """What is wrong with the body of an HTTP reply; None where nothing is."""
    return checked(lambda: http_outputs(body, json_length), expected)
