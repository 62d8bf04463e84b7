"""Values of element types that numpy lacks, on their way into ONNX Runtime and back."""

from __future__ import annotations

import numpy as np
import pytest

from serve_deploy.onnx.narrow_values import find_narrow_type, from_ort_value, round_values, to_ort_value

# Each with a number that it has, and one that it rounds.
ROUNDED = {
    "bfloat16": ([1.5, 1.001], [1.5, 1.0]),
    "float8e4m3fn": ([-448.0, 3.3], [-448.0, 3.25]),
    "float8e4m3fnuz": ([-240.0, 3.3], [-240.0, 3.25]),
    "float8e5m2": ([-57344.0, 3.3], [-57344.0, 3.5]),
    "float8e5m2fnuz": ([-57344.0, 3.3], [-57344.0, 3.5]),
    "float8e8m0": ([0.125, 3.9], [0.125, 4.0]),
    "int4": ([-8, 7], [-8, 7]),
    "uint4": ([15, 3], [15, 3]),
    "int2": ([-2, 1], [-2, 1]),
    "uint2": ([3, 1], [3, 1]),
}


@pytest.mark.parametrize("element", ROUNDED)
def test_rounds_to_values_that_the_type_has(element: str) -> None:
    """The nearest value, in numpy's wider type."""
    given, wanted = ROUNDED[element]

    assert round_values(np.array(given), element).tolist() == wanted


@pytest.mark.parametrize("shape", [(), (0, 3), (3,), (2, 5)])
@pytest.mark.parametrize("element", ROUNDED)
def test_keeps_values_in_an_ort_value(element: str, shape: tuple[int, ...]) -> None:
    """Several of 4 bits share a byte, and the last one may be half empty."""
    wanted = np.resize(round_values(np.array(ROUNDED[element][0]), element), shape)

    got = from_ort_value(to_ort_value(wanted, element), element)

    assert (got.dtype, got.shape) == (wanted.dtype, shape)
    np.testing.assert_array_equal(got, wanted)


def test_leaves_what_numpy_has_to_numpy() -> None:
    """Only tensors of a type without a numpy type are narrow."""
    assert find_narrow_type("tensor(float8e5m2)") == "float8e5m2"
    assert [find_narrow_type(name) for name in ("tensor(float)", "seq(tensor(bfloat16))")] == [None, None]
