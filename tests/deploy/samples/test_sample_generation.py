"""Samples made for a model: ones that it accepts, and that show what it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from batching_models import parse_graph, save
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model

from serve_deploy.onnx.session import open_model
from serve_deploy.samples.files import encode_samples
from serve_deploy.samples.generation import GeneratedSamples, generate_samples


def generate(model: onnx.ModelProto, folder: Path, **options: int) -> GeneratedSamples:
    """Samples for a model, as packaging asks for them."""
    return generate_samples(open_model(save(model, folder)), **options)


def weights(name: str, *shape: int) -> onnx.TensorProto:
    """A constant of ones."""
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def test_keeps_token_ids_within_the_vocabulary(tmp_path: Path) -> None:
    """Ids that index an embedding are below its length, through casts and reshapes."""
    model = parse_graph(
        """(int32[N,seq] ids) => (float[M,2] y) <float[3,2] table = {1,2,3,4,5,6}> {
            wide = Cast<to=7>(ids) flat = Constant<value_ints=[-1]>() all = Reshape(wide, flat) y = Gather(table, all)
        }"""
    )

    samples = generate(model, tmp_path).samples

    assert max(int(sample["ids"].max()) for sample in samples) == 2


def test_gives_masks_that_begin_with_ones_and_lengths_within_the_size(tmp_path: Path) -> None:
    """The first sample is whole, later ones are padded; lengths follow."""
    model = parse_graph(
        """(float[N,time,4] x, int64[N,time] attention_mask, int64[N] lengths) => (float[N,time,4] y) {
            m = Cast<to=1>(attention_mask) axis = Constant<value_ints=[2]>() w = Unsqueeze(m, axis)
            l = Cast<to=1>(lengths) axes = Constant<value_ints=[1,2]>() s = Unsqueeze(l, axes)
            a = Mul(x, w) y = Mul(a, s)
        }"""
    )

    samples = generate(model, tmp_path).samples

    assert samples[0]["attention_mask"].all()
    assert not samples[1]["attention_mask"].all()
    assert all(1 <= int(sample["lengths"][0]) <= sample["x"].shape[1] for sample in samples)
    assert samples[0]["lengths"] != samples[1]["lengths"]


def test_sizes_free_dims_by_what_consumes_them(tmp_path: Path) -> None:
    """Channels come from the convolution, features from the matrix."""
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["seen"]),
        helper.make_node("MatMul", ["vector", "matrix"], ["z"]),
    ]
    model = build_model(
        nodes,
        [("image", TensorProto.FLOAT, ("N", "C", "H", "W")), ("vector", TensorProto.FLOAT, ("N", "F"))],
        [("seen", TensorProto.FLOAT, ("N", 2, "h", "w")), ("z", TensorProto.FLOAT, ("N", 3))],
        initializers=[weights("kernel", 2, 5, 3, 3), weights("matrix", 7, 3)],
    )

    (sample, *_) = generate(model, tmp_path).samples

    assert (sample["image"].shape[1], sample["vector"].shape) == (5, (1, 7))


def test_learns_sizes_from_complaints(tmp_path: Path) -> None:
    """A size that the graph hides is taken from what ONNX Runtime says it expected."""
    model = parse_graph(
        """(float[N,F] x) => (float[N,M] y) {
            shape = Constant<value_ints=[-1,3,29]>() r = Reshape(x, shape) flat = Constant<value_ints=[-1,87]>()
            y = Reshape(r, flat)
        }"""
    )

    found = generate(model, tmp_path)

    assert found.samples, found.attempts
    assert found.samples[0]["x"].shape == (1, 87)


def test_gives_equal_names_equal_sizes(tmp_path: Path) -> None:
    """Two inputs that share a symbol fit together; a sum of symbols is their sum."""
    model = parse_graph(
        """(float[N,past,4] old, float[N,now,4] new, float[N,"past + now",4] both) => (float[N,all,4] y) {
            c = Concat<axis=1>(old, new) y = Add(c, both)
        }""".replace('"past + now"', "total")
    )
    model.graph.input[2].type.tensor_type.shape.dim[1].dim_param = "past + now"

    (sample, *_) = generate(model, tmp_path).samples

    assert sample["both"].shape[1] == sample["old"].shape[1] + sample["new"].shape[1]


def test_takes_the_categories_that_the_model_knows(tmp_path: Path) -> None:
    """An encoder that refuses unknown values gets known ones."""
    node = helper.make_node("OneHotEncoder", ["x"], ["y"], cats_strings=["red", "green"], zeros=0, domain="ai.onnx.ml")
    model = build_model([node], [("x", TensorProto.STRING, ("N", 1))], [("y", TensorProto.FLOAT, ("N", 1, 2))])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))

    samples = generate(model, tmp_path).samples

    assert {str(sample["x"][0, 0]) for sample in samples} <= {"red", "green"}


def test_takes_small_numbers_for_sizes(tmp_path: Path) -> None:
    """An input that becomes a shape or a count costs little memory."""
    model = parse_graph("(int64[2] shape) => (float[A,B] y) { y = ConstantOfShape(shape) }")

    samples = generate(model, tmp_path).samples

    assert samples
    assert max(int(sample["shape"].max()) for sample in samples) <= 10


def test_takes_several_rows_where_one_is_refused(tmp_path: Path) -> None:
    """A model that needs two rows is shown as one that does."""
    model = parse_graph(
        "(float[N,4] x) => (float[N,4] y) { second = Constant<value_int=1>() r = Gather(x, second) y = Add(x, r) }"
    )

    assert generate(model, tmp_path).samples[0]["x"].shape[0] == 2


def test_reports_what_was_tried(tmp_path: Path) -> None:
    """A model that accepts nothing leaves the guesses and its complaints."""
    model = parse_graph(
        """(float[N,4] x) => (float[M] y) {
            far = Constant<value_ints=[100000]>() flat = Constant<value_ints=[-1]>() f = Reshape(x, flat)
            y = Gather(f, far)
        }"""
    )

    found = generate(model, tmp_path)

    assert found.samples == ()
    assert "x [1, 4]" in found.attempts[0]
    assert "out of data bounds" in found.attempts[0]


@pytest.mark.parametrize("graph", ["(string[N,1] x) => (string[N,1] y) { y = Identity(x) }"])
def test_repeats_itself_with_the_same_seed(graph: str, tmp_path: Path) -> None:
    """Equal seeds make equal samples, others do not."""
    made = [encode_samples(generate(parse_graph(graph), tmp_path, seed=seed).samples) for seed in (1, 1, 2)]

    assert made[0] == made[1] != made[2]


def test_serves_a_model_without_inputs(tmp_path: Path) -> None:
    """Nothing to choose is still a sample."""
    found = generate(parse_graph("() => (float[2] y) { y = Constant<value_floats=[1.0,2.0]>() }"), tmp_path)

    assert found.samples[0] == {}


def test_lies_near_what_the_model_compares_with(tmp_path: Path) -> None:
    """A model that saturates away from its means gets samples near each of them, so that it answers differently."""
    model = parse_graph(
        """(float[N,2] x) => (float[N,2] y) <float[1,2,2] means = {500.0,-300.0,700.0,900.0}> {
            shape = Constant<value_ints=[0,1,2]>() wide = Reshape(x, shape) away = Sub(wide, means)
            far = ReduceSumSquare<axes=[2], keepdims=0>(away) near = Neg(far) y = Softmax<axis=1>(near)
        }"""
    )

    found = generate(model, tmp_path)

    assert "1 of 1 outputs vary" in found.attempts[-1]


def test_takes_a_single_position_as_a_number(tmp_path: Path) -> None:
    """An input whose name says that it counts places may have none to count along."""
    found = generate(parse_graph("(int64 position) => (int64 y) { y = Identity(position) }"), tmp_path)

    assert found.samples[0]["position"].shape == ()
