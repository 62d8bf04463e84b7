"""The graph's witness on the traps of the batching proof."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest
from batching_models import BATCHABLE, NOT_BATCHABLE, Trap, parse_graph, recurrent_model

from serve_deploy.batch_axis import trace_batch_axis

# Axis 0 is taken to be free whatever is declared, and the number of places that NonZero lists may be undone again.
_NOT_SEEN = {"fixed_batch", "label_declared_wrongly", "all_that_is_positive"}
MIXING = [trap for trap in NOT_BATCHABLE if trap.name not in _NOT_SEEN]


@pytest.mark.parametrize("trap", BATCHABLE, ids=lambda trap: trap.name)
def test_rows_that_stay_apart_are_independent(trap: Trap) -> None:
    """Every model whose rows do not influence each other is understood."""
    assert trace_batch_axis(parse_graph(trap.graph)).verdict == "independent"


@pytest.mark.parametrize("trap", MIXING, ids=lambda trap: trap.name)
def test_rows_that_mix_are_seen_to_mix(trap: Trap) -> None:
    """Every model that mixes rows is caught, with a cause that names an output."""
    witness = trace_batch_axis(parse_graph(trap.graph))
    assert witness.verdict == "mixes"
    assert all(cause.outputs for cause in witness.causes)


def test_a_recurrent_network_may_hold_its_batch_on_axis_1() -> None:
    """An RNN runs along axis 0: time, where the model has transposed the batch away from it."""
    assert trace_batch_axis(recurrent_model(time_first=False)).verdict == "independent"
    (cause,) = trace_batch_axis(recurrent_model(time_first=True)).causes
    assert "runs along the batch axis" in cause.reason


def _causes(graph: str) -> list[tuple[str, str, str]]:
    witness = trace_batch_axis(parse_graph(graph))
    return [(cause.node, cause.operator, cause.reason) for cause in witness.causes]


def test_a_cause_names_its_node_its_operator_and_the_outputs_that_it_reaches() -> None:
    """The node by the output that it makes where it has no name; outputs that it does not reach are left out."""
    (cause,) = trace_batch_axis(
        parse_graph(
            "(float[N,4] x) => (float[N,4] y, float[N,4] z) { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) z = Exp(x) }"
        )
    ).causes
    assert (cause.node, cause.operator, cause.effect) == ("the node that makes 'm'", "ReduceMean", "mixes")
    assert cause.outputs == ("y",)


@pytest.mark.parametrize(
    ("graph", "reason", "next_step"),
    [
        (
            "(float[N,4] x) => (float[N,4] y) { q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }",
            "computes one int8 scale for the whole batch",
            "static",
        ),
        (
            """(float[N,3] x, float[2,N,3] h) => (float[N,3] y) {
                z = Constant<value_int=0>() g = Gather(h, z) y = Add(x, g)
            }""",
            "it has its batch on axis 1, not on axis 0",
            "the batch as first dimension",
        ),
        (
            "(float[N,3] x) => (float[3,N] y) { y = Transpose<perm=[1,0]>(x) }",
            "it has its batch on axis 1, not on axis 0",
            "the batch as first dimension",
        ),
        (
            """(float[N,4] x) => (float[N,4] y) <float[4] s = {1,1,1,1}, float[4] b = {1,2,3,4}> {
                y, m, v = BatchNormalization<training_mode=1>(x, s, b, b, s)
            }""",
            "normalises over the batch: it is in training mode",
            "evaluation mode",
        ),
        (
            "(float[N,4] x) => (float[N,2,2] y) { s = Constant<value_ints=[1,2,2]>() y = Reshape(x, s) }",
            "is made for a batch of a fixed size: it reshapes the rows to a fixed shape",
            "free (dynamic)",
        ),
    ],
    ids=["dynamic_quantisation", "state_on_axis_1", "output_on_axis_1", "training_mode", "fixed_shape"],
)
def test_a_cause_says_what_can_be_done(graph: str, reason: str, next_step: str) -> None:
    """The frequent causes come with the next step."""
    (cause,) = trace_batch_axis(parse_graph(graph)).causes
    assert cause.reason == reason
    assert next_step in (cause.next_step or "")


def test_an_operator_without_a_rule_is_unknown() -> None:
    """A custom operator that rows go through is named with its domain."""
    model = parse_graph("(float[N,4] x) => (float[N,4] y) { y = my.domain.Mystery(x) }")
    model.opset_import.add(domain="my.domain", version=1)
    witness = trace_batch_axis(model)
    assert witness.verdict == "unknown"
    assert [(cause.operator, cause.reason) for cause in witness.causes] == [
        ("my.domain.Mystery", "is an operator without a rule here")
    ]


def test_an_unknown_operator_on_constants_does_not_matter() -> None:
    """What no row goes through is the same in every batch."""
    model = parse_graph(
        "(float[N,4] x) => (float[N,4] y) <float[1] c = {1}> { m = my.domain.Mystery(c) s = Constant<value_ints=[1]>() "
        "r = Reshape(m, s) y = Add(x, r) }"
    )
    model.opset_import.add(domain="my.domain", version=1)
    assert trace_batch_axis(model).verdict == "independent"


def test_a_function_of_the_model_is_walked_with_its_attributes() -> None:
    """The axis that the call gives decides, in a function as in the graph."""
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        graph (float[N,4] x) => (float[N,4] y) { y = local.Share<axis=AXIS>(x) }
        <domain: "local", opset_import: ["" : 17]>
        Share<axis>(a) => (b) { b = Softmax<axis: int = @axis>(a) }"""
    apart, mixed = (onnx.parser.parse_model(text.replace("AXIS", axis)) for axis in ("1", "0"))
    assert trace_batch_axis(apart).verdict == "independent"
    (cause,) = trace_batch_axis(mixed).causes
    assert cause.operator == "Softmax"


def test_a_body_sees_the_tensors_around_it() -> None:
    """A reduction over the batch inside a branch mixes, though no input of the If has rows."""
    branch = "<then_branch = t () => (float[M,4] a) { m = ReduceMean<axes=[0]>(x) a = Sub(x, m) }, "
    branch += "else_branch = e () => (float[M,4] b) { b = Neg(x) }>"
    graph = f"(float[N,4] x) => (float[N,4] y) {{ c = Constant<value = bool {{1}}>() y = If{branch}(c) }}"
    assert [operator for _, operator, _ in _causes(graph)] == ["ReduceMean"]


def test_an_input_that_is_not_stacked_is_the_same_for_every_row() -> None:
    """Only the inputs that are named carry rows."""
    model = parse_graph("(float[N,4] x, float factor) => (float[N,4] y) { y = Mul(x, factor) }")
    assert trace_batch_axis(model, ["x"]).verdict == "independent"
    assert trace_batch_axis(model).verdict == "mixes"


def test_an_initializer_that_is_listed_as_an_input_is_a_constant() -> None:
    """Old exporters list their weights among the inputs."""
    model = parse_graph(
        "(float[N,4] x, float[4,2] w) => (float[N,2] y) <float[4,2] v = {1,2,3,4,5,6,7,8}> { y = MatMul(x, w) }"
    )
    model.graph.initializer[0].name = "w"
    assert trace_batch_axis(model).verdict == "independent"


def test_a_sort_that_is_undone_is_not_called_mixing() -> None:
    """Packed sequences are sorted by length, and put back: what becomes of them is not known."""
    graph = """(float[N,4] x, float[N] lengths) => (float[N,4] y) {
        n = Shape(lengths) v, order = TopK<axis=0>(lengths, n) s = Gather(x, order) f = Cast<to=1>(order) g = Neg(f)
        w, back = TopK<axis=0>(g, n) y = Gather(s, back)
    }"""
    assert trace_batch_axis(parse_graph(graph)).verdict == "unknown"
    assert trace_batch_axis(parse_graph(graph.replace("Gather(s, back)", "Neg(s)"))).verdict == "mixes"


def test_an_index_into_its_own_row_is_followed() -> None:
    """Attention masks are looked up in the flattened batch, by row · length + place: own row, unless it is shifted."""
    graph = """(float[N,6] x) => (float[N,6] y) {
        zero = Constant<value_int=0>() one = Constant<value_int=1>() six = Constant<value_int=6>()
        shape = Shape(x) rows = Gather(shape, zero) r = Range(zero, rows, one) k = Range(zero, six, one)
        axis = Constant<value_ints=[1]>() column = Unsqueeze(r, axis) start = Mul(column, six) index = Add(start, k)
        flat = Constant<value_ints=[-1]>() all = Reshape(x, flat) y = Gather(all, index)
    }"""
    assert trace_batch_axis(parse_graph(graph)).verdict == "independent"
    assert trace_batch_axis(parse_graph(graph.replace("Range(zero, six, one)", "Range(one, six, one)"))).verdict == (
        "independent"
    )
    assert trace_batch_axis(
        parse_graph(graph.replace("six = Constant<value_int=6>", "six = Constant<value_int=5>"))
    ).verdict != ("independent")


def test_reading_a_large_constant_is_not_needed() -> None:
    """External data need not be there: its shape is enough."""
    model = parse_graph("(float[N,4] x) => (float[N,2] y) <float[4,2] w = {1,2,3,4,5,6,7,8}> { y = MatMul(x, w) }")
    weights = model.graph.initializer[0]
    weights.ClearField("float_data")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    assert trace_batch_axis(model).verdict == "independent"
