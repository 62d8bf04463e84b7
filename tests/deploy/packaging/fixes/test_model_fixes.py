"""Copies of models that Triton cannot serve, rewritten so that it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from batching_models import parse_graph, save
from onnx import TensorProto, helper
from onnx_models import doubling_model, echo_model

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.model import read_model
from serve_deploy.onnx.session import OpenedModel, open_model
from serve_deploy.packaging.fixes.model_fixes import check_same_results, fix_model
from serve_deploy.packaging.fixes.servable import explain_unservable
from serve_deploy.packaging.labels import find_labels


def zipmap_model() -> onnx.ModelProto:
    """A classifier as scikit-learn's converter writes it: a label, and a sequence of maps of scores."""
    model = parse_graph(
        """(float[N,2] x) => (string[N] label, float[N,2] scores) <float[2,2] w = {1.0,-1.0,0.5,2.0}> {
            raw = MatMul(x, w) p = Softmax<axis=1>(raw) best = ArgMax<axis=1, keepdims=0>(raw)
            label = ai.onnx.ml.LabelEncoder<keys_int64s=[0,1], values_strings=["no","yes"]>(best)
            scores = ai.onnx.ml.ZipMap<classlabels_strings=["no","yes"]>(p)
        }"""
    )
    entry = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output[1].type.CopyFrom(helper.make_sequence_type_proto(entry))
    return model


def fix(model: onnx.ModelProto, folder: Path, release: str = "24.10") -> tuple[OpenedModel, tuple[str, ...]]:
    """The fixed copy, and what was done."""
    return fix_model(open_model(save(model, folder)), release=release)


def test_cuts_a_zipmap_down_to_its_scores(tmp_path: Path) -> None:
    """The output keeps its name and becomes a tensor; the class names are kept."""
    model, fixes = fix(zipmap_model(), tmp_path)

    outputs = model.run({"x": np.array([[1, 0], [0, 1]], np.float32)})

    assert [(tensor.name, tensor.shape) for tensor in model.signature.outputs] == [
        ("label", (-1,)),
        ("scores", (-1, 2)),
    ]
    np.testing.assert_allclose(outputs["scores"].sum(axis=1), 1, rtol=1e-6)
    assert outputs["label"].tolist() == ["no", "yes"]
    assert find_labels(model.model.metadata, model.signature) == {"scores": ("no", "yes")}
    assert "ZipMap" in fixes[0]


def test_splits_a_sequence_into_its_tensors(tmp_path: Path) -> None:
    """A sequence that the model builds at its end becomes one output a tensor."""
    model = parse_graph("(float[N,2] x) => (float[N,2] s) { d = Add(x, x) s = SequenceConstruct(x, d) }")
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))

    fixed, _ = fix(model, tmp_path)

    outputs = fixed.run({"x": np.ones((1, 2), np.float32)})
    assert {name: array.tolist() for name, array in outputs.items()} == {"s_0": [[1, 1]], "s_1": [[2, 2]]}


def test_names_an_output_that_it_cannot_take_apart(tmp_path: Path) -> None:
    """A sequence of unknown length is refused by its name."""
    model = parse_graph(
        """(float[N,2] x) => (float[N,2] s) {
            a = SequenceConstruct(x) s = SequenceInsert(a, x)
        }"""
    )
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))

    with pytest.raises(InvalidModelError, match="output 's'"):
        fix(model, tmp_path)


def test_frees_a_label_that_is_declared_one_row(tmp_path: Path) -> None:
    """A dimension that the model does not keep to becomes free, so that the session reports it free."""
    model, fixes = fix(wrong_label_model(), tmp_path)

    assert [tensor.shape for tensor in model.signature.outputs] == [(-1,), (-1, 3)]
    assert "declared [1], but the model returned [2]" in fixes[0]


def wrong_label_model() -> onnx.ModelProto:
    """A tree ensemble with its label declared [1], as LightGBM's converter writes it."""
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", post_transform="NONE",
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[0, 0, 0], class_treeids=[0, 0, 0], class_nodeids=[1, 2, 2],
        class_ids=[0, 1, 2], class_weights=[1.0, 0.7, 0.3], classlabels_int64s=[0, 1, 2],
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 2))],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, (1,)),
            helper.make_tensor_value_info("p", TensorProto.FLOAT, ("N", 3)),
        ],
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_lowers_versions_that_the_release_does_not_read(tmp_path: Path) -> None:
    """IR and opset go down to the release's where the operators mean the same."""
    model = doubling_model(ir_version=11)
    model.opset_import[0].version = 23

    fixed, fixes = fix(model, tmp_path)

    assert (fixed.model.ir_version, fixed.model.opsets["ai.onnx"]) == (10, 21)
    assert fixes == ("lowered the ai.onnx opset from 23 to 21", "lowered the IR version from 11 to 10")


def test_writes_out_an_operator_that_the_lower_opset_lacks(tmp_path: Path) -> None:
    """An operator that ONNX defines by older ones becomes these, with the same results."""
    model = parse_graph("(float[N,4] x) => (float[N,4] y) <float[4] w = {1,2,3,4}> { y = RMSNormalization(x, w) }")
    model.opset_import[0].version, model.ir_version = 23, 11

    fixed, fixes = fix(model, tmp_path)

    outputs = fixed.run({"x": np.full((1, 4), 2, np.float32)})
    np.testing.assert_allclose(outputs["y"], [[1, 2, 3, 4]], rtol=1e-5)
    assert fixes[0] == "lowered the ai.onnx opset from 23 to 21"


def test_writes_out_an_operator_with_its_defaults(tmp_path: Path) -> None:
    """An attribute that the node leaves out keeps its default, which the written out operators have to be told."""
    model = parse_graph("(float[N,3] x) => (float[N,3] y) { y = Swish(x) }")
    model.opset_import[0].version, model.ir_version = 24, 11

    fixed, _ = fix(model, tmp_path)

    np.testing.assert_allclose(fixed.run({"x": np.ones((1, 3), np.float32)})["y"], 1 / (1 + np.exp(-1)), rtol=1e-6)


def test_refuses_an_operator_without_an_older_form(tmp_path: Path) -> None:
    """An operator that the lower opset cannot express is named."""
    model = parse_graph("(float[N,8] x) => (float[M] y) { i = NonZero(x) s = Shape(x) y = TensorScatter(x, x, i) }")
    model.opset_import[0].version, model.ir_version = 24, 11

    with pytest.raises(InvalidModelError, match="TensorScatter"):
        fix(model, tmp_path)


def test_sets_a_locale_that_images_have(tmp_path: Path) -> None:
    """StringNormalizer is made to use C.UTF-8."""
    model = parse_graph('(string[N] x) => (string[N] y) { y = StringNormalizer<case_change_action="LOWER">(x) }')

    fixed, fixes = fix(model, tmp_path)

    outputs = fixed.run({"x": np.array(["ÄÖ"], object)})
    assert outputs["y"].tolist() == ["äö"]
    assert "C.UTF-8" in fixes[0]


@pytest.mark.parametrize("number", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.INT4])
def test_casts_types_that_triton_cannot_serve(number: int, tmp_path: Path) -> None:
    """BF16, FP8 and INT4 become types that hold the same values; the model inside stays as it is."""
    model = echo_model(number, ("N", 3))
    model.opset_import[0].version, model.ir_version = 21, 10

    fixed, fixes = fix(model, tmp_path)

    numbers = np.array([[1, 2, -4]], "int8" if number == TensorProto.INT4 else "float32")
    assert fixed.run({"x": numbers})["y"].tolist() == [[1, 2, -4]]
    assert (explain_unservable(fixed.model), len(fixes)) == (None, 2)


_CAST_AND_DOUBLE = ("Cast<to=1>(x)", "Add(x, x)")


@pytest.mark.parametrize("number", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2, TensorProto.UINT4])
def test_compares_a_widened_output_with_the_original(number: int, tmp_path: Path) -> None:
    """A copy whose widened output has other values is noticed."""
    original, copy = (parse_graph(f"(float[N,3] x) => (float[N,3] y) {{ y = {node} }}") for node in _CAST_AND_DOUBLE)
    original.graph.node[0].attribute[0].i = number
    original.graph.output[0].type.tensor_type.elem_type = number
    opened = []
    for name, model in (("original.onnx", original), ("copy.onnx", copy)):
        model.opset_import[0].version, model.ir_version = 21, 10
        opened.append(open_model(save(model, tmp_path, name)))

    with pytest.raises(InvalidModelError, match="answers differently in output 'y'"):
        check_same_results(*opened)


def test_casts_to_powers_of_two(tmp_path: Path) -> None:
    """FP8 that is an exponent alone becomes FP32."""
    model = parse_graph("(float[N,3] x) => (float[N,3] y) { y = Cast<to=24>(x) }")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E8M0
    model.opset_import[0].version, model.ir_version = 24, 11

    fixed, _ = fix(model, tmp_path, release="26.07")

    assert fixed.run({"x": np.array([[1, 4, 0.5]], np.float32)})["y"].tolist() == [[1, 4, 0.5]]


def test_compares_an_input_that_is_declared_empty(tmp_path: Path) -> None:
    """The original takes no value where the copy takes any number of them."""
    model = parse_graph("(float[N,3] x, float[0] like) => (float[N,3] y) { y = CastLike(x, like) }")
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT8E5M2
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E5M2
    model.opset_import[0].version, model.ir_version = 21, 10

    fixed, _ = fix(model, tmp_path)

    inputs = {"x": np.array([[1, 2, 3.3]], np.float32), "like": np.empty(0, np.float32)}
    assert fixed.run(inputs)["y"].tolist() == [[1, 2, 3.5]]


def optional_model(nodes: str, kind: str = "float[N,2]") -> onnx.ModelProto:
    """A model with an optional tensor x as its input."""
    model = parse_graph(f"(float[N,2] x) => ({kind} y) {{ {nodes} }}")
    model.opset_import[0].version = 18
    model.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(model.graph.input[0].type))
    return model


@pytest.mark.parametrize(
    ("nodes", "answer"),
    [
        ("t = OptionalGetElement(x) y = Add(t, t)", [[2, 4]]),
        ("h = OptionalHasElement(x) f = Cast<to=1>(h) t = OptionalGetElement(x) y = Add(f, t)", [[2, 3]]),
    ],
)
def test_makes_an_optional_input_plain(nodes: str, answer: list[list[float]], tmp_path: Path) -> None:
    """A model that only asks what is in an optional input gets it with each request."""
    fixed, fixes = fix(optional_model(nodes), tmp_path)

    assert fixed.run({"x": np.array([[1, 2]], np.float32)})["y"].tolist() == answer
    assert fixes == ("'x': made the optional tensor a plain one, which each request has to give",)


def test_reads_an_optional_input_in_a_branch(tmp_path: Path) -> None:
    """The nodes that read an input may stand in subgraphs."""
    model = optional_model(
        """h = OptionalHasElement(x)
        y = If(h) <then_branch = t () => (float[N,2] a) { a = OptionalGetElement(x) },
                   else_branch = e () => (float[1,2] b) <float[1,2] w = {0.0,0.0}> { b = Identity(w) }>"""
    )

    fixed, _ = fix(model, tmp_path)

    assert fixed.run({"x": np.array([[1, 2]], np.float32)})["y"].tolist() == [[1, 2]]


def test_leaves_an_optional_input_that_is_handed_on(tmp_path: Path) -> None:
    """What becomes of an optional value elsewhere is not known."""
    fixed, _ = fix(optional_model("o = Identity(x) y = OptionalGetElement(o)"), tmp_path)

    refusal = explain_unservable(fixed.model, fixed=True)

    assert refusal is not None
    assert "input 'x'" in refusal.message
    assert "is an optional float tensor" in refusal.message


def test_frees_a_dimension_of_0(tmp_path: Path) -> None:
    """A shape that no configuration can say becomes one that it can."""
    fixed, fixes = fix(echo_model(TensorProto.FLOAT, (0, 2)), tmp_path)

    assert [tensor.shape for tensor in (*fixed.signature.inputs, *fixed.signature.outputs)] == [(-1, 2), (-1, 2)]
    assert len(fixes) == 2


def test_leaves_a_good_model_alone(tmp_path: Path) -> None:
    """Nothing to fix, nothing done."""
    assert fix(doubling_model(), tmp_path)[1] == ()


def test_names_the_output_and_the_option(tmp_path: Path) -> None:
    """Without the fix, the refusal names the output, its type and the option."""
    refusal = explain_unservable(read_model(save(zipmap_model(), tmp_path)))

    assert refusal is not None
    assert "output 'scores'" in refusal.message
    assert "sequence of map of string to float" in refusal.message
    assert "`fix`" in str(refusal.hint)


def test_has_nothing_to_say_of_a_good_model(tmp_path: Path) -> None:
    """A model of tensors is servable."""
    assert explain_unservable(read_model(save(doubling_model(), tmp_path))) is None


def test_raises_an_opset_whose_operators_have_lost_their_kernels(tmp_path: Path) -> None:
    """Mul of opset 6, which broadcasts by an attribute, is one that ONNX Runtime runs no longer."""
    model = parse_graph("(float[3,2] x) => (float[3,2] y) <float[2] w = {1.0, 2.0}> { y = Mul<broadcast=1>(x, w) }")
    model.opset_import[0].version = 6

    fixed, fixes = fix(model, tmp_path)

    assert fixes == ("raised the ai.onnx opset from 6 to 7",)
    np.testing.assert_array_equal(fixed.run({"x": np.ones((3, 2), np.float32)})["y"], [[1, 2]] * 3)


def test_keeps_slopes_on_their_channels_in_a_raised_opset(tmp_path: Path) -> None:
    """Before opset 7, the slopes of PRelu lie along axis 1, though another axis may be as long."""
    model = parse_graph("(float[1,2,2] x) => (float[1,2,2] y) <float[2] w = {0.5, 2.0}> { y = PRelu(x, w) }")
    model.opset_import[0].version = 6

    fixed, _ = fix(model, tmp_path)

    answer = fixed.run({"x": np.full((1, 2, 2), -1, np.float32)})
    np.testing.assert_array_equal(answer["y"], [[[-0.5, -0.5], [-2, -2]]])


def test_lowers_the_opset_to_one_with_a_kernel(tmp_path: Path) -> None:
    """ONNX Runtime 1.22 reads opset 22, but runs LpNormalization in its older version only."""
    model = parse_graph("(float[N,4] x) => (float[N,4] y) { y = LpNormalization(x) }")
    model.opset_import[0].version = 22

    _, fixes = fix(model, tmp_path, release="25.06")

    assert fixes == ("lowered the ai.onnx opset from 22 to 21",)
