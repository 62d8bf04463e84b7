"""Compare the outputs in a reply with the expected ones. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.payload import Outputs, grpc_outputs, http_outputs
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, compare

Array = NDArray[Any]


def check_grpc_reply(reply: bytes, expected: Outputs) -> str | None:
    """What is wrong with a ModelInferResponse; None where nothing is."""
    return _check(lambda: grpc_outputs(reply), expected)


def check_http_reply(body: bytes, json_length: int | None, expected: Outputs) -> str | None:
    """What is wrong with the body of an HTTP reply; None where nothing is."""
    return _check(lambda: http_outputs(body, json_length), expected)


def _check(read: Callable[[], Outputs], expected: Outputs) -> str | None:
    try:
        outputs = read()
        for name, wanted in expected.items():
            if name not in outputs:
                return f"output {name} is missing"
            difference = _difference(outputs[name], wanted)
            if difference:
                return f"output {name} {difference}"
    except (ValueError, KeyError, TypeError, struct.error) as error:
        return f"the reply cannot be read: {error}"
    return None


def _difference(got: Array, wanted: Array) -> str | None:
    if got.shape != wanted.shape:
        return f"has shape {list(got.shape)}, expected {list(wanted.shape)}"
    if wanted.dtype.kind in "OSU":
        pairs = zip(map(_text, got.ravel()), map(_text, wanted.ravel()), strict=True)
        return next((f"is '{a}', expected '{b}'" for a, b in pairs if a != b), None)
    # Whoever computed the expected outputs may have done so in other types, integers included.
    return compare(np.asarray(got, np.float64), np.asarray(wanted, np.float64), COMPUTED_ELSEWHERE).problem


def _text(item: Any) -> str:
    return item.decode(errors="replace") if isinstance(item, bytes) else str(item)
