"""Turn inputs of a model into constants, in a copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import UsageError
from serve_deploy.tensors.casting import cast_array
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from onnx import ModelProto

    from serve_deploy.onnx.session import Array, OpenedModel


def fix_inputs(opened: OpenedModel, given: Mapping[str, str]) -> tuple[OpenedModel, list[str]]:
    """The model with these inputs fixed to values, and a sentence on each; UsageError where a value does not fit."""
    from serve_deploy.packaging.fixes.model_fixes import reopen

    if not given:
        return opened, []
    values = {name: _read_value(opened.signature, name, text) for name, text in given.items()}
    proto = opened.parse()
    _replace_inputs(proto, values)
    return reopen(opened, proto), [f"input '{name}': fixed to {text}" for name, text in given.items()]


def _replace_inputs(proto: ModelProto, values: Mapping[str, Array]) -> None:
    from onnx import numpy_helper

    kept = [value for value in proto.graph.input if value.name not in values]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in values.items())


def _read_value(signature: ModelSignature, name: str, text: str) -> Array:
    spec = next((spec for spec in signature.inputs if spec.name == name), None)
    if spec is None:
        known = ", ".join(spec.name for spec in signature.inputs)
        raise UsageError(f"`constant={name}={text}`: the model has no input '{name}'", hint=f"it has: {known}")
    if -1 in spec.shape:
        raise UsageError(f"`constant={name}={text}`: {spec} has a size that is not fixed")
    try:
        value = cast_array(np.array(json.loads(f"[{text}]")), spec.data_type)
        return np.broadcast_to(value.reshape(-1), (int(np.prod(spec.shape)),)).reshape(spec.shape).copy()
    except ValueError as error:
        example = "16000" if spec.data_type.is_integer else "0.5"
        raise UsageError(
            f"`constant={name}={text}` is not a value of {spec}", hint=f"for example {name}={example}"
        ) from error
