"""Lower a model's IR version and opsets to what a release's ONNX Runtime accepts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.graph import all_nodes
from serve_deploy.releases import Release, answer_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, NodeProto


_OLDEST_OPSET = 7  # ONNX Runtime promises nothing of older ones


def lower_to_fit(proto: ModelProto, release: Release) -> tuple[ModelProto, list[str]]:
    """Return the model in the newest versions in which the release runs its operators, and one sentence a change.

    A newer opset is the last resort, for old operators that lost their kernels. Where no opset helps, the model comes
    back in the versions that the release reads. Raises InvalidModelError where not even that can be done.
    """
    from onnx import ModelProto

    def copied() -> ModelProto:
        copy = ModelProto()
        copy.CopyFrom(proto)
        return copy

    readable, fixes = lower_versions(copied(), release)
    lowered, changes = readable, fixes
    for opset in range(min(_opset(proto, ""), release.max_opset) - 1, _OLDEST_OPSET - 1, -1):
        if not _is_refused(lowered, release):
            return lowered, changes
        try:
            lowered, changes = lower_versions(copied(), replace(release, max_opset=opset))
        except InvalidModelError:
            break
    current = _opset(readable, "")
    for opset in range(current + 1, release.max_opset + 1):
        try:
            raised = _convert(_align_slopes(copied()), opset, [])
        except InvalidModelError:
            continue
        if not _is_refused(raised, release):
            return raised, [*fixes, f"raised the ai.onnx opset from {current} to {opset}"]
    return readable, fixes


def _align_slopes(proto: ModelProto) -> ModelProto:
    """Give PRelu's slopes, which lie along axis 1 before opset 7, the shape that says so in later ones.

    The converter does not. Raises InvalidModelError where their shape is not known.
    """
    from onnx import helper, shape_inference

    nodes = [node for node in all_nodes(proto) if node.op_type == "PRelu"] if _opset(proto, "") < _OLDEST_OPSET else []
    typed = shape_inference.infer_shapes(_declare_initializers(proto)).graph if nodes else proto.graph
    shapes = {v.name: v.type.tensor_type for v in (*typed.input, *typed.value_info)}
    ranks = {name: len(tensor.shape.dim) for name, tensor in shapes.items() if tensor.HasField("shape")}
    for node in nodes:
        rank, slopes = (ranks.get(name) for name in node.input)
        if node not in list(proto.graph.node) or rank is None or slopes is None or slopes > 1:
            raise InvalidModelError("the channels of a PRelu are not known")
        if slopes == 1 and rank > 2:
            aligned = f"{node.output[0]}_slopes"
            unsqueeze = helper.make_node("Unsqueeze", [node.input[1]], [aligned], axes=list(range(1, rank - 1)))
            proto.graph.node.insert(list(proto.graph.node).index(node), unsqueeze)
            node.input[1] = aligned
    return proto


def _is_refused(proto: ModelProto, release: Release) -> bool:
    from onnx import ModelProto

    from serve_deploy.onnx.operator_uses import list_operator_uses

    copy = ModelProto()
    copy.CopyFrom(proto)
    return answer_release(release.name, list_operator_uses(copy)).verdict == "refused"


def lower_versions(proto: ModelProto, release: Release) -> tuple[ModelProto, list[str]]:
    """Return the model in versions that the release accepts, and one sentence a change.

    Raises InvalidModelError where an operator has no form in the lower opset.
    """
    fixes = []
    for domain, limit in (("", release.max_opset), ("ai.onnx.ml", release.max_ml_opset)):
        current = _opset(proto, domain)
        if current > limit:
            proto = _lower_opset(proto, domain, limit)
            fixes.append(f"lowered the {domain or 'ai.onnx'} opset from {current} to {limit}")
    if proto.ir_version > release.max_ir_version:
        fixes.append(f"lowered the IR version from {proto.ir_version} to {release.max_ir_version}")
        proto.ir_version = release.max_ir_version
    return proto, fixes


def _opset(proto: ModelProto, domain: str) -> int:
    return max((entry.version for entry in proto.opset_import if _is_named(entry.domain, domain)), default=0)


def _is_named(name: str, domain: str) -> bool:
    return (name or "ai.onnx") == (domain or "ai.onnx")


def _lower_opset(proto: ModelProto, domain: str, limit: int) -> ModelProto:
    changed = sorted({node.op_type for node in _nodes(proto, domain) if not _is_same(node, domain, proto, limit)})
    if not changed:
        _set_opset(proto, domain, limit)
        return proto
    if domain:
        raise InvalidModelError(
            f"cannot lower the {domain} opset to {limit}: {', '.join(changed)} changed since then",
            hint="export the model again with an older opset",
        )
    expanded = _expand(proto, changed)
    if expanded is not None:
        return _lower_opset(expanded, domain, limit)
    return _convert(proto, limit, changed)


def _expand(proto: ModelProto, operators: list[str]) -> ModelProto | None:
    """The model with the operators written out that ONNX defines by older ones; None where it defines none so."""
    from onnx import defs, shape_inference
    from onnx.inliner import inline_selected_functions

    schemas: dict[str, Any] = {name: defs.get_schema(name, _opset(proto, ""), "") for name in operators}
    written = [name for name, schema in schemas.items() if schema.has_function or schema.has_context_dependent_function]
    if not written:
        return None
    typed = shape_inference.infer_shapes(_declare_initializers(proto))
    for node in _nodes(typed, ""):
        if node.op_type in written:
            _say_defaults(node, schemas[node.op_type])
    try:
        expanded = inline_selected_functions(typed, [("", name) for name in written], inline_schema_functions=True)
    except RuntimeError:  # some definition needs a type that could not be inferred
        return None
    left = {node.op_type for node in _nodes(expanded, "")}
    return None if left & set(written) else expanded


def _say_defaults(node: NodeProto, schema: Any) -> None:
    """Give the node the default of each attribute that it leaves out: the inliner knows only what is there."""
    given = {attribute.name for attribute in node.attribute}
    defaults = (a.default_value for name, a in schema.attributes.items() if name not in given)
    node.attribute.extend(default for default in defaults if default.type)


def _declare_initializers(proto: ModelProto) -> ModelProto:
    """A copy that gives the types of its initializers, which the inliner looks for."""
    from onnx import ModelProto, helper

    copy = ModelProto()
    copy.CopyFrom(proto)
    known = {value.name for value in (*copy.graph.input, *copy.graph.value_info)}
    copy.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in copy.graph.initializer
        if tensor.name not in known
    )
    return copy


def _nodes(proto: ModelProto, domain: str) -> Iterator[NodeProto]:
    return (node for node in all_nodes(proto) if _is_named(node.domain, domain))


def _is_same(node: NodeProto, domain: str, proto: ModelProto, limit: int) -> bool:
    """Whether the operator means the same in both opsets."""
    from onnx import defs

    try:
        versions = [
            defs.get_schema(node.op_type, version, domain).since_version for version in (_opset(proto, domain), limit)
        ]
    except defs.SchemaError:
        return False
    return versions[0] == versions[1]


def _set_opset(proto: ModelProto, domain: str, version: int) -> None:
    for imports in (proto.opset_import, *(function.opset_import for function in proto.functions)):
        for entry in imports:
            if _is_named(entry.domain, domain):
                entry.version = version


def _convert(proto: ModelProto, limit: int, changed: list[str]) -> ModelProto:
    from onnx import version_converter

    try:
        converted = version_converter.convert_version(proto, limit)
    except Exception as error:
        reason = " ".join(str(error).split("failed: ")[-1].split())[-200:]
        raise InvalidModelError(
            f"cannot lower the ai.onnx opset to {limit}: {', '.join(changed)} changed since then, and the converter "
            f"says: {reason}",
            hint="export the model again with an older opset, or choose a newer `release`",
        ) from error
    converted.metadata_props.extend(entry for entry in proto.metadata_props if not converted.metadata_props)
    return converted
