"""One-node models that ask an ONNX Runtime whether it can run an operator in a version with given types."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, TypeProto, defs, helper

# Beyond this many combinations of types, each is varied on its own around the first.
_MOST_COMBINATIONS = 7000
# Attributes whose value is the type of an output, or a tensor of it.
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype", "value")
# Required attributes, where 1 or "" would not do.
_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "BitShift": {"direction": "LEFT"},
    "Einsum": {"equation": "ij->ij"},
    "Pad": {"pads": [0, 0], "paddings": [0, 0]},
    "MaxPool": {"kernel_shape": [1, 1]},
    "AveragePool": {"kernel_shape": [1, 1]},
    "LpPool": {"kernel_shape": [1, 1]},
    "MaxUnpool": {"kernel_shape": [1, 1]},
    "MaxRoiPool": {"pooled_shape": [1, 1]},
    "TfIdfVectorizer": {
        "mode": "TF",
        "ngram_counts": [0],
        "ngram_indexes": [0],
        "pool_int64s": [1],
        "max_skip_count": 0,
    },
    "Upsample": {"scales": [1.0, 1.0, 1.0, 1.0]},
    "Momentum": {"mode": "standard"},
    "RNN": {"hidden_size": 1},
    "GRU": {"hidden_size": 1},
    "LSTM": {"hidden_size": 1},
    "RegexFullMatch": {"pattern": "a"},
    "Reshape": {"shape": [1]},
}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]+")


@dataclass(frozen=True)
class Formal:
    """An input or output of an operator: the name of its type constraint, or its only type."""

    constraint: str
    kind: str  # single, optional or variadic


@dataclass(frozen=True)
class Attribute:
    """An attribute: its type as in AttributeProto, and the words of its description, which name its values."""

    kind: int
    required: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operator:
    """What is needed of a schema, whichever library it comes from; opsets from `since` to `until` select it."""

    domain: str
    name: str
    since: int
    until: int
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    constraints: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, Attribute]

    @property
    def key(self) -> str:
        return f"{self.domain}:{self.name}:{self.since}"


def list_onnx_operators() -> list[Operator]:
    """Every operator of this onnx package, each of its versions, with the newest opset that still selects it."""
    found: dict[tuple[str, str], list[Any]] = {}
    for schema in defs.get_all_schemas_with_history():
        found.setdefault((schema.domain, schema.name), []).append(schema)
    operators = []
    for versions in found.values():
        versions.sort(key=lambda schema: schema.since_version)
        ends = [later.since_version - 1 for later in versions[1:]] + [2**31 - 1]
        operators += [_read_schema(s, end) for s, end in zip(versions, ends, strict=True) if not s.deprecated]
    return sorted(operators, key=lambda operator: operator.key)


def _read_schema(schema: Any, until: int) -> Operator:
    return Operator(
        domain=schema.domain,
        name=schema.name,
        since=schema.since_version,
        until=until,
        inputs=tuple(Formal(f.type_str, f.option.name.lower()) for f in schema.inputs),
        outputs=tuple(Formal(f.type_str, f.option.name.lower()) for f in schema.outputs),
        constraints={c.type_param_str: tuple(c.allowed_type_strs) for c in schema.type_constraints},
        attributes={
            a.name: Attribute(
                int(getattr(a.type, "value", a.type)), a.required, tuple(sorted(set(_WORD.findall(a.description))))
            )
            for a in schema.attributes.values()
        },
    )


def _words(description: str) -> tuple[str, ...]:
    return tuple(sorted(set(_WORD.findall(description))))


def read_operators(schemas: Sequence[Mapping[str, Any]]) -> list[Operator]:
    """The operators of an ONNX Runtime's own domains, as `runner.py list` writes them."""
    return [
        Operator(
            domain=schema["domain"],
            name=schema["name"],
            since=schema["since"],
            until=schema["since"],
            inputs=tuple(Formal(*formal) for formal in schema["inputs"]),
            outputs=tuple(Formal(*formal) for formal in schema["outputs"]),
            constraints={name: tuple(types) for name, types in schema["constraints"].items()},
            attributes={name: Attribute(*attribute) for name, attribute in schema["attributes"].items()},
        )
        for schema in schemas
    ]


def combine_types(operator: Operator) -> Iterator[dict[str, str]]:
    """The types to ask for: all combinations, or each constraint varied alone where they are too many."""
    used = bound_constraints(operator)
    choices = [sorted(operator.constraints[name]) for name in used]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count <= _MOST_COMBINATIONS:
        for types in itertools.product(*choices):
            yield dict(zip(used, types, strict=True))
        return
    first = {name: choice[0] for name, choice in zip(used, choices, strict=True)}
    for name, choice in zip(used, choices, strict=True):
        for other in choice:
            yield {**first, name: other}


def bound_constraints(operator: Operator) -> list[str]:
    """The type constraints of its inputs and outputs, in their order."""
    names = dict.fromkeys(f.constraint for f in (*operator.inputs, *operator.outputs))
    return [name for name in names if name in operator.constraints]


def build_model(
    operator: Operator, types: Mapping[str, str], *, opset: int, ir_version: int, given: Mapping[str, Any] | None = None
) -> bytes | None:
    """A model of the one node at an opset, with attributes on top of the required ones; None: it cannot be said."""
    inputs = _choose(operator, operator.inputs)
    bound = {f.constraint for f in inputs}
    outputs = _choose(operator, operator.outputs, bound=bound)
    try:
        declared = [
            (f"i{n}", parse_type(types.get(f.constraint, f.constraint)))
            for n, f in enumerate(operator.inputs)
            if f in inputs
        ]
        names = [f"i{n}" if f in inputs else "" for n, f in enumerate(operator.inputs)]
        results = [f"o{n}" if f in outputs else "" for n, f in enumerate(operator.outputs)]
        attributes = _attributes(operator, types, bound, given or {})
    except (ValueError, KeyError, TypeError):
        return None
    node = helper.make_node(operator.name, _trim(names), _trim(results), domain=operator.domain)
    node.attribute.extend(attributes)
    graph = onnx.GraphProto(name="probe", node=[node])
    if operator.name == "If":
        declared.append(("i1", parse_type(types["V"])))
    for name, type_proto in declared:
        graph.input.add(name=name).type.CopyFrom(type_proto)
    for name in filter(None, results):
        graph.output.add(name=name)
    model = onnx.ModelProto(ir_version=ir_version, graph=graph)
    model.opset_import.add(domain="", version=opset if operator.domain == "" else 17)
    if operator.domain:
        model.opset_import.add(domain=operator.domain, version=opset)
    return model.SerializeToString()


def _choose(operator: Operator, formals: Sequence[Formal], *, bound: set[str] | None = None) -> list[Formal]:
    """The formals that cannot be left out, and of the others the first of each constraint that nothing else binds."""
    known = set(bound or ()) | {f.constraint for f in formals if f.kind == "single"}
    chosen = []
    for formal in formals:
        needed = formal.kind != "optional" or (
            formal.constraint in operator.constraints and formal.constraint not in known
        )
        if needed or formal.kind == "variadic":
            chosen.append(formal)
            known.add(formal.constraint)
    return chosen


def _trim(names: list[str]) -> list[str]:
    while names and not names[-1]:
        names = names[:-1]
    return names


def _attributes(
    operator: Operator, types: Mapping[str, str], bound: set[str], given: Mapping[str, Any]
) -> list[AttributeProto]:
    usual = _ATTRIBUTES.get(operator.name, {})
    values = {name: usual.get(name, _default(a.kind)) for name, a in operator.attributes.items() if a.required}
    values |= {name: value for name, value in usual.items() if name in operator.attributes}
    free = [f.constraint for f in operator.outputs if f.constraint in types and f.constraint not in bound]
    for name in _TYPE_ATTRIBUTES:
        if free and name in operator.attributes and operator.attributes[name].kind != AttributeProto.STRING:
            values[name] = _say_type(name, types[free[0]])
            break
    if operator.name in ("If", "Loop", "Scan", "SequenceMap"):
        values |= make_subgraphs(operator.name, types)
    return [helper.make_attribute(name, value) for name, value in {**values, **given}.items()]


def _say_type(name: str, text: str) -> Any:
    proto = parse_type(text)
    proto = proto.sequence_type.elem_type if proto.HasField("sequence_type") else proto
    element = proto.tensor_type.elem_type
    if name != "value":
        return element
    if element == TensorProto.STRING:
        return helper.make_tensor("value", element, [1], [b""])
    size = helper.tensor_dtype_to_np_dtype(element).itemsize
    return helper.make_tensor("value", element, [1], bytes(size), raw=True)


def _default(kind: int) -> Any:
    return {
        AttributeProto.INT: 1, AttributeProto.FLOAT: 1.0, AttributeProto.STRING: "", AttributeProto.INTS: [1],
        AttributeProto.FLOATS: [1.0], AttributeProto.STRINGS: ["a"],
        AttributeProto.TENSOR: helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]),
        AttributeProto.GRAPH: onnx.GraphProto(),
    }[kind]  # fmt: skip


def make_subgraphs(name: str, types: Mapping[str, str]) -> dict[str, Any]:
    """Bodies that hand their values on; those of If, which take none, take a value of the graph around them."""
    value = {"If": "i1", "Loop": "v", "Scan": "v", "SequenceMap": "v"}[name]
    kind = parse_type(types["S" if name == "SequenceMap" else "V"])
    kind = kind.sequence_type.elem_type if name == "SequenceMap" else kind
    body = onnx.GraphProto(name="body", node=[helper.make_node("Identity", [value], ["w"])])
    body.output.add(name="w").type.CopyFrom(kind)
    if name == "If":
        return {"then_branch": body, "else_branch": body}
    body.input.add(name="v").type.CopyFrom(kind)
    if name == "Loop":
        body.input.insert(0, helper.make_tensor_value_info("n", TensorProto.INT64, []))
        body.input.insert(1, helper.make_tensor_value_info("c", TensorProto.BOOL, []))
        body.output.insert(0, helper.make_tensor_value_info("d", TensorProto.BOOL, []))
        body.node.append(helper.make_node("Identity", ["c"], ["d"]))
    return {"body": body, **({"num_scan_inputs": 1} if name == "Scan" else {})}


def parse_type(text: str) -> TypeProto:
    """Read a type as schemas write it: tensor(float), seq(tensor(int64)), map(string, float) …"""
    head, _, rest = text.strip().partition("(")
    rest = rest[:-1]
    proto = TypeProto()
    if head == "tensor":
        proto.tensor_type.elem_type = parse_element(rest)
    elif head == "sparse_tensor":
        proto.sparse_tensor_type.elem_type = parse_element(rest)
    elif head == "seq":
        proto.sequence_type.elem_type.CopyFrom(parse_type(rest))
    elif head == "optional":
        proto.optional_type.elem_type.CopyFrom(parse_type(rest))
    elif head == "map":
        key, _, value = rest.partition(",")
        proto.map_type.key_type = parse_element(key)
        value = value.strip()
        proto.map_type.value_type.CopyFrom(parse_type(value if "(" in value else f"tensor({value})"))
    else:
        raise ValueError(text)
    return proto


def parse_element(name: str) -> int:
    """The number of an element type by its name in schemas."""
    return int(TensorProto.DataType.Value(name.strip().upper()))
