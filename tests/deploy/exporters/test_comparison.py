"""An export is compared with its model at several batch sizes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from serve_deploy.errors import InvalidModelError, VerificationError
from serve_deploy.exporters.comparison import compare_export
from serve_deploy.exporters.examples import Array, Arrays, Examples

ROWS = Examples.of([{"x": np.arange(12, dtype=np.float32).reshape(4, 3)}])


def double(arrays: Arrays) -> dict[str, Array]:
    return {"y": 2 * arrays["x"]}


def refuses_five(arrays: Arrays) -> dict[str, Array]:
    if len(arrays["x"]) == 5:
        raise InvalidModelError("Got: 5 Expected: 2")
    return double(arrays)


def test_the_sizes_that_were_compared_are_recorded() -> None:
    """With the largest difference of each output."""
    agreement = compare_export(double, lambda arrays: {"y": 2.001 * arrays["x"]}, ROWS, "net.py:m")
    assert agreement.batch_sizes == (1, 2, 3, 5, 8)
    (parity,) = agreement.tensors
    assert parity.largest_absolute_difference == pytest.approx(11 * 0.001, rel=0.01)


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (refuses_five, "refuses a batch of 5: Got: 5 Expected: 2"),
        (lambda arrays: {"y": 2 * arrays["x"][:2]}, "a batch of 3 otherwise: output 'y' has shape"),
        (lambda arrays: {"y": 2 * arrays["x"] + len(arrays["x"])}, "a batch of 1 otherwise: output 'y' differs"),
        (lambda arrays: {"y": np.full_like(arrays["x"], np.nan)}, "is infinite or NaN"),
    ],
)
def test_an_export_that_answers_otherwise_is_refused(
    export: Callable[[Arrays], dict[str, Array]], message: str
) -> None:
    """With the batch, and the output."""
    with pytest.raises(VerificationError, match=r"net\.py:m") as refused:
        compare_export(double, export, ROWS, "net.py:m")
    assert message in refused.value.message


def test_a_column_is_the_vector_of_its_rows() -> None:
    """scikit-learn returns the one, and its exports the other."""
    compare_export(lambda a: {"y": a["x"].sum(1)}, lambda a: {"y": a["x"].sum(1, keepdims=True)}, ROWS, "m")


def test_random_outputs_are_named_and_not_compared() -> None:
    """They differ from themselves."""
    numbers = np.random.default_rng(0)

    def original(arrays: Arrays) -> dict[str, Array]:
        return {"noise": numbers.normal(size=arrays["x"].shape), **double(arrays)}

    agreement = compare_export(original, lambda arrays: {"noise": arrays["x"], **double(arrays)}, ROWS, "m")
    assert agreement.random_outputs == ("noise",)
    assert [parity.name for parity in agreement.tensors] == ["y"]
