"""Rewrite a copy of a model so that Triton can serve it, and say what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.model import OnnxModel, UnsupportedTensor, load_proto
from serve_deploy.onnx.session import Run, open_session, session_runner, session_signature
from serve_deploy.packaging.fixes.input_output_types import widen_types
from serve_deploy.releases import DEFAULT_RELEASE, check_data_types, check_release, find_release

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from serve_deploy.samples.files import Samples
    from serve_deploy.tensors.types import ModelSignature

_STRING_LOCALE = "C.UTF-8"  # every image has it, and its character tables are those of en_US.UTF-8


@dataclass(frozen=True)
class FixedModel:
    """The rewritten model (its external data still where it was) and one sentence a fix; no fixes, no change."""

    proto: ModelProto
    fixes: tuple[str, ...]


def explain_unservable(model: OnnxModel) -> InvalidModelError | None:
    """Why Triton cannot serve the model as it is, naming the tensor and what to do; None where it can."""
    for tensor in model.unsupported:
        return InvalidModelError(
            f"{tensor.direction} '{tensor.name}' of {model.path} is a {tensor.type_name}, which Triton cannot serve",
            hint="--fix rewrites a copy of the model with plain tensors"
            if _is_mendable(tensor)
            else f"export the model with plain tensors as {tensor.direction}s",
        )
    return None


def _is_mendable(tensor: UnsupportedTensor) -> bool:
    if tensor.kind == "tensor":
        return "complex" not in tensor.type_name
    return tensor.direction == "output" and tensor.kind != "sparse tensor"


def fix_model(model: OnnxModel, *, release: str = DEFAULT_RELEASE) -> FixedModel:
    """Rewrite a copy for the release; raises InvalidModelError naming what cannot be mended."""
    from serve_deploy.packaging.fixes.opset_lowering import lower_versions

    proto = load_proto(model.path)
    widened = widen_types(proto, bfloat16=check_data_types(release, model.signature) is not None)
    fixes = [*widened, *_cut_unsupported(model, proto), *_set_locale(proto), *_free_empty_dims(proto)]
    if check_release(release, model.ir_version, model.opsets) is not None:
        proto, lowered = lower_versions(proto, find_release(release))
        fixes.extend(lowered)
    fixes.extend(_free_wrong_dims(model, proto))
    if fixes:
        _check_same_results(model, proto)
    return FixedModel(proto, tuple(fixes))


def _cut_unsupported(model: OnnxModel, proto: ModelProto) -> list[str]:
    from serve_deploy.packaging.fixes.output_surgery import cut_outputs

    outputs = [tensor for tensor in model.unsupported if tensor.direction == "output" and tensor.kind != "tensor"]
    fixes, left = cut_outputs(proto, [tensor.name for tensor in outputs])
    for tensor in outputs:
        if tensor.name in left:
            raise InvalidModelError(
                f"output '{tensor.name}' of {model.path} is a {tensor.type_name}, which Triton cannot serve and --fix "
                "cannot take apart",
                hint="export the model with plain tensors as outputs",
            )
    return fixes


def _set_locale(proto: ModelProto) -> list[str]:
    from onnx import helper

    from serve_deploy.onnx.graph import iterate_nodes, needs_locale

    fixed = [node for node in iterate_nodes(proto.graph) if needs_locale(node)]
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


def _free_wrong_dims(model: OnnxModel, proto: ModelProto) -> list[str]:
    """Declare those output dims free in which the model's answers differ from its declaration."""
    if all(-1 not in tensor.shape for tensor in model.signature.inputs):
        return []  # nothing free goes in, so what comes out was declared as it is or not at all
    session = open_session(model, content=proto.SerializeToString())
    signature = session_signature(session, model)
    shapes = _observed_shapes(model, session, signature)
    fixes = []
    for value in proto.graph.output:
        declared = next((tensor.shape for tensor in signature.outputs if tensor.name == value.name), None)
        seen = shapes.get(value.name)
        if declared is not None and seen and any(not _keeps_to(shape, declared) for shape in seen):
            _declare(value, seen)
            fixes.append(
                f"output '{value.name}': declared {list(declared)}, but the model returned {list(seen[-1])}: "
                "made the dimensions free that differ"
            )
    return fixes


def _keeps_to(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(shape) == len(declared) and all(dim in (-1, size) for dim, size in zip(declared, shape, strict=True))


def _observed_shapes(model: OnnxModel, session: Any, signature: ModelSignature) -> dict[str, list[tuple[int, ...]]]:
    """The shape of every output for a sample, and for two of them stacked where the model takes that."""
    from serve_deploy.samples.generation import generate_samples

    run = session_runner(session)
    samples = generate_samples(model, session, 2).samples
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for inputs in (*samples[:1], *_stacked(samples, signature)):
        try:
            outputs = run(inputs)
        except InvalidModelError:
            continue
        for name, array in outputs.items():
            shapes.setdefault(name, []).append(array.shape)
    return shapes


def _stacked(samples: Samples, signature: ModelSignature) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    import numpy as np

    free = {tensor.name for tensor in signature.inputs if tensor.shape and tensor.shape[0] == -1}
    if len(samples) < 2 or not free:
        return []
    first, second = samples[:2]
    return [{name: np.concatenate([first[name], second[name]]) if name in free else first[name] for name in first}]


def _declare(value: Any, seen: list[tuple[int, ...]]) -> None:
    """Declare a shape that fits all that was seen: a dim stays where it was always the same, but for the first."""
    dims = value.type.tensor_type.shape.dim
    known = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    rank = len(seen[-1])
    del dims[:]
    for axis in range(rank):
        dim = dims.add()
        fixed = len(known) == rank and known[axis] is not None and all(shape[axis] == known[axis] for shape in seen)
        if fixed:
            dim.dim_value = known[axis]
        else:
            dim.dim_param = f"{value.name}_dim_{axis}"


# --- proof that the copy does the same ------------------------------------------------------------------------------


def _check_same_results(model: OnnxModel, proto: ModelProto) -> None:
    """Run the model and its copy on the same samples; InvalidModelError where an output of both differs."""
    from serve_deploy.samples.generation import generate_samples

    fixed = open_session(model, content=proto.SerializeToString())
    try:
        original = open_session(model)
    except InvalidModelError:
        return  # there is nothing to compare with: the original does not load here at all
    samples = generate_samples(model, original, 2).samples
    _compare(model, session_runner(original), session_runner(fixed), samples)


def _compare(model: OnnxModel, original: Run, fixed: Run, samples: Samples) -> None:
    import numpy as np

    for sample in samples:
        wanted, again, got = original(sample), original(sample), fixed(sample)
        for name in wanted.keys() & got.keys():
            if wanted[name].dtype.kind != "f":
                same = np.array_equal(wanted[name], got[name])
            else:
                same = np.allclose(wanted[name], got[name], rtol=1e-3, atol=1e-5, equal_nan=True)
            if not same and np.array_equal(wanted[name], again[name]):
                raise InvalidModelError(
                    f"the copy that --fix made of {model.path} answers differently in output '{name}'",
                    hint="export the model again instead",
                )
