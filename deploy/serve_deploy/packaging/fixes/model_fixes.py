"""Rewrite a copy of a model so that Triton can serve it, and say what was done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.model import read_model
from serve_deploy.onnx.session import Array, Arrays, OpenedModel
from serve_deploy.packaging.fixes.input_output_types import unwrap_optionals, widen_types
from serve_deploy.releases import DEFAULT_RELEASE, answer_release, check_data_types, check_release, find_release

if TYPE_CHECKING:
    from onnx import ModelProto

    from serve_deploy.onnx.model import OnnxModel

_STRING_LOCALE = "C.UTF-8"  # every image has it, and its character tables are those of en_US.UTF-8


def fix_model(opened: OpenedModel, *, release: str = DEFAULT_RELEASE) -> tuple[OpenedModel, tuple[str, ...]]:
    """A rewritten copy for the release and one sentence for each fix, or the model itself where nothing was to fix.

    The external data stays where it was. Raises InvalidModelError naming what cannot be fixed.
    """
    from serve_deploy.onnx.operator_uses import list_operator_uses
    from serve_deploy.packaging.fixes.opset_lowering import lower_to_fit

    model = opened.model
    proto = opened.parse()
    fixes = unwrap_optionals(proto)
    fixes += widen_types(proto, bfloat16=check_data_types(release, model.signature) is not None)
    fixes += [*_cut_unsupported(model, proto), *_set_locale(proto), *_free_empty_dims(proto)]
    is_readable = check_release(release, model.ir_version, model.opsets) is None
    if not is_readable or answer_release(release, list_operator_uses(opened.parse())).verdict == "refused":
        proto, lowered = lower_to_fit(proto, find_release(release))
        fixes += lowered
    fixed = reopen(opened, proto) if fixes else opened
    if freed := _free_wrong_dims(fixed, proto):
        fixes += freed
        fixed = reopen(opened, proto)
    if fixes:
        check_same_results(opened, fixed)
    return fixed, tuple(fixes)


def reopen(opened: OpenedModel, proto: ModelProto) -> OpenedModel:
    """The model with another graph, its external data where it was."""
    content = proto.SerializeToString()
    return replace(opened, model=read_model(opened.model.path, content), content=content)


def _cut_unsupported(model: OnnxModel, proto: ModelProto) -> list[str]:
    from serve_deploy.packaging.fixes.output_surgery import cut_outputs

    outputs = [tensor for tensor in model.unsupported if tensor.direction == "output" and tensor.kind != "tensor"]
    fixes, left = cut_outputs(proto, [tensor.name for tensor in outputs])
    for tensor in outputs:
        if tensor.name in left:
            raise InvalidModelError(
                f"output '{tensor.name}' of {model.path} is {tensor.described}, which Triton cannot serve and "
                "`fix` cannot take apart",
                hint="export the model with plain tensors as outputs",
            )
    return fixes


def _set_locale(proto: ModelProto) -> list[str]:
    from onnx import helper

    from serve_deploy.onnx.graph import all_nodes, needs_locale

    fixed = [node for node in all_nodes(proto) if needs_locale(node)]
    for node in fixed:
        kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("locale", _STRING_LOCALE)])
    return [f"set the locale of StringNormalizer to {_STRING_LOCALE}, which every image has"] if fixed else []


def _free_empty_dims(proto: ModelProto) -> list[str]:
    """Make dims of 0 free, since no configuration can say 0; an empty array still fits."""
    fixes = []
    for value in (*proto.graph.input, *proto.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value == 0:
                dim.dim_param = f"{value.name}_dim_{axis}"
                fixes.append(f"'{value.name}': made dimension {axis} free, which was declared 0")
    return fixes


# --- declared dims that the model does not keep to ------------------------------------------------------------------


def _free_wrong_dims(opened: OpenedModel, proto: ModelProto) -> list[str]:
    """Declare those output dims free in which the model's answers differ from its declaration."""
    if all(-1 not in tensor.shape for tensor in opened.model.signature.inputs):
        return []  # nothing free goes in, so what comes out was declared as it is or not at all
    outputs = [outputs for inputs in _stacked_samples(opened) if (outputs := _try(opened, inputs)) is not None]
    fixes = []
    for value in proto.graph.output:
        declared = next((tensor for tensor in opened.signature.outputs if tensor.name == value.name), None)
        seen = [arrays[value.name].shape for arrays in outputs if declared]
        if declared and not all(map(declared.fits, seen)):
            _declare(value, seen)
            fixes.append(
                f"output '{value.name}': declared {list(declared.shape)}, but the model returned {list(seen[-1])}: "
                "made the dimensions free that differ"
            )
    return fixes


def _stacked_samples(opened: OpenedModel) -> Iterator[Arrays]:
    """A sample, and two of them stacked where first dims are free."""
    import numpy as np

    from serve_deploy.samples.generation import generate_samples

    samples = generate_samples(opened, 2).samples
    free = {tensor.name for tensor in opened.signature.inputs if tensor.shape and tensor.shape[0] == -1}
    yield from samples[:1]
    if len(samples) > 1 and free:
        first, second = samples[:2]
        yield {name: np.concatenate([first[name], second[name]]) if name in free else first[name] for name in first}


def _try(opened: OpenedModel, inputs: Arrays) -> Arrays | None:
    try:
        return opened.run(inputs)
    except InvalidModelError:
        return None


def _declare(value: Any, seen: list[tuple[int, ...]]) -> None:
    """Declare a shape that fits all that was seen: a dim stays where it was always the same, but for the first."""
    dims = value.type.tensor_type.shape.dim
    known = [{dim.dim_value} if dim.HasField("dim_value") else set() for dim in dims]
    rank = len(seen[-1])
    del dims[:]
    for axis in range(rank):
        sizes = {shape[axis] for shape in seen}
        if len(known) == rank and sizes == known[axis]:
            dims.add(dim_value=sizes.pop())
        else:
            dims.add(dim_param=f"{value.name}_dim_{axis}")


# --- proof that the copy does the same ------------------------------------------------------------------------------


def check_same_results(original: OpenedModel, fixed: OpenedModel) -> None:
    """Run the model and its copy on the same samples; InvalidModelError where an output of both differs."""
    from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, are_close

    for sample in _comparable_samples(original, fixed):
        wanted, again, got = original.run(sample), original.run(sample), fixed.run(sample)
        for name in wanted.keys() & got.keys():
            if are_close(again[name], wanted[name], COMPUTED_ELSEWHERE) and not are_close(
                got[name], wanted[name], COMPUTED_ELSEWHERE
            ):
                raise InvalidModelError(
                    f"the fixed copy of {original.model.path} answers differently in output '{name}'",
                    hint="export the model again instead",
                )


def _comparable_samples(original: OpenedModel, fixed: OpenedModel) -> list[Arrays]:
    """Samples that both take: those of a widened input are values that the original's type has too."""
    from serve_deploy.samples.generation import generate_samples

    try:
        inputs = {value.name: value for value in original.session.get_inputs()}
    except InvalidModelError:
        return []  # there is nothing to compare with: the original does not load here at all
    known = {tensor.name for tensor in original.signature.inputs}
    if inputs.keys() <= known:
        return list(generate_samples(original, 2).samples)
    return [
        {name: _fit_to(inputs[name], array) for name, array in sample.items()}
        for sample in generate_samples(fixed, 2).samples
    ]


def _fit_to(declared: Any, array: Array) -> Array:
    """Values of the copy's input as the original's takes them: rounded to its type, and none where it takes none."""
    from serve_deploy.onnx.narrow_values import find_narrow_type, round_values

    narrow = find_narrow_type(str(declared.type))
    emptied = array[tuple(slice(0) if size == 0 else slice(None) for size in declared.shape)]
    return round_values(emptied, narrow) if narrow else emptied
