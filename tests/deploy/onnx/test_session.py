"""What ONNX Runtime reports of a loaded model, and running it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from batching_models import parse_graph, save
from onnx import TensorProto, helper
from onnx_models import build_model, doubling_model, echo_model

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.session import open_model
from serve_deploy.onnx.string_locale import LOCALE, provide_locale
from serve_deploy.tensors.types import DataType
from serve_deploy.tensors.wire import from_bfloat16_bits, to_bfloat16_bits


def test_reports_the_shapes_that_the_session_infers(tmp_path: Path) -> None:
    """A dim that the file leaves open and ONNX Runtime infers is reported as inferred, as Triton's backend sees it."""
    opened = open_model(save(parse_graph("(float[N,4] x) => (float[N,Div_1] y) { y = Mul(x, x) }"), tmp_path))

    assert opened.model.signature.outputs[0].shape == (-1, -1)
    assert opened.signature.outputs[0].shape == (-1, 4)


def test_reports_the_same_without_prepacking(tmp_path: Path) -> None:
    """A session that leaves the weights where they are infers the same shapes."""
    path = save(parse_graph("(float[N,4] x) => (float[N,M] y) { y = Softmax(x) }"), tmp_path)

    assert open_model(path, prepack=False).signature == open_model(path).signature


def test_gives_the_refusal_in_onnx_runtimes_words(tmp_path: Path) -> None:
    """A model with an unknown operator is refused in one line that names it."""
    node = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
    tensors = [("x", TensorProto.FLOAT, ("N",))], [("y", TensorProto.FLOAT, ("N",))]
    opened = open_model(save(build_model([node], *tensors), tmp_path))

    with pytest.raises(InvalidModelError, match=r"com\.example") as refusal:
        _ = opened.signature

    assert "\n" not in refusal.value.message
    assert "com.example" in str(refusal.value.hint)


def test_runs_bfloat16_as_float32(tmp_path: Path) -> None:
    """BF16 goes in and comes out as float32, rounded to what BF16 can hold."""
    opened = open_model(save(echo_model(TensorProto.BFLOAT16, ("N", 2)), tmp_path))

    outputs = opened.run({"x": np.array([[1.0, 3.14159]], np.float32)})

    assert opened.signature.inputs[0].data_type is DataType.BF16
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[1.0, 3.140625]]


def test_rounds_to_bfloat16_and_back() -> None:
    """The nearest number with 8 bits, infinities and not-a-number included."""
    numbers = np.array([[0.0, 1.0, -2.5, 1e38, np.inf, -np.inf, np.nan, 1.00390625]], np.float32)

    back = from_bfloat16_bits(to_bfloat16_bits(numbers))

    np.testing.assert_array_equal(back[0, [0, 1, 2, 4, 5, 6]], numbers[0, [0, 1, 2, 4, 5, 6]])
    assert (back[0, 7], to_bfloat16_bits(np.float32(1)).shape) == (1.0, ())


def test_says_why_a_run_failed(tmp_path: Path) -> None:
    """A request that the model refuses raises its complaint in one line."""
    opened = open_model(save(doubling_model(), tmp_path))

    with pytest.raises(InvalidModelError, match="Expected: 3") as refusal:
        opened.run({"x": np.zeros((1, 4), np.float32)})

    assert "\n" not in refusal.value.message


def test_ends_a_run_that_takes_too_long(tmp_path: Path) -> None:
    """A loop without end is stopped when its time is up."""
    graph = parse_graph(
        """(int64 n) => (float[K] y) {
            more = Constant<value_int=1>() go = Cast<to=9>(more) start = Constant<value_floats=[1.0]>()
            y = Loop(n, go, start) <body = body (int64 i, bool c, float[K] v) => (bool d, float[K] w) {
                d = Identity(c) w = Sin(v)
            }>
        }"""
    )
    opened = open_model(save(graph, tmp_path))

    with pytest.raises(InvalidModelError, match=r"did not end within 0\.2 s"):
        opened.run({"n": np.array(1 << 60)}, timeout_seconds=0.2)


def test_loads_a_string_normalizer_on_a_slim_machine(tmp_path: Path) -> None:
    """The locale that StringNormalizer asks for is provided where the machine lacks it."""
    model = parse_graph('(string[N] x) => (string[N] y) { y = StringNormalizer<case_change_action="UPPER">(x) }')

    opened = open_model(save(model, tmp_path))

    assert opened.run({"x": np.array(["héllo"], object)})["y"].tolist() == ["HÉLLO"]


def test_provides_the_locale_to_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's environment gets the path to the locale, or needs none."""
    monkeypatch.setattr("serve_deploy.onnx.string_locale.has_locale", lambda: False)
    environment: dict[str, str] = {}

    if provide_locale(environment):
        assert (Path(environment["LOCPATH"]) / LOCALE / "LC_CTYPE").exists()
    else:
        assert environment == {}
