"""The inputs of an export: rows, batches, and the sizes that are free."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.exporters.examples import Examples


def test_rows_are_a_batch_where_every_input_has_as_many() -> None:
    """Three and two rows are five samples of one."""
    given_samples = [{"a": np.ones((3, 2)), "b": np.ones((3,))}, {"a": np.ones((2, 2)), "b": np.ones((2,))}]
    examples = Examples.of(given_samples)
    assert examples.is_batched
    assert [sample["a"].shape for sample in examples.samples] == [(1, 2)] * 5


@pytest.mark.parametrize("other", [np.ones((2, 4)), np.float32(3.0)])
def test_inputs_of_other_lengths_are_no_batch(other: np.ndarray) -> None:
    """An image and a threshold go together as they are."""
    examples = Examples.of([{"a": np.ones((3, 4)), "b": np.asarray(other)}])
    assert not examples.is_batched
    assert [size for size, _arrays in examples.batches()] == [0]


def test_sizes_that_differ_between_samples_are_free() -> None:
    """Axis 0 is the batch, and is not among them."""
    examples = Examples.of([{"ids": np.ones((2, 5, 3))}, {"ids": np.ones((1, 7, 3))}])
    assert examples.free_axes() == {"ids": (1,)}


def test_an_exporter_never_sees_a_batch_of_one() -> None:
    """It would take the size for a constant."""
    assert Examples.of([{"x": np.ones((1, 4))}]).trace_with()["x"].shape == (2, 4)


def test_double_precision_becomes_single_and_nothing_else_changes() -> None:
    """Whole numbers and texts keep their types."""
    arrays = {"a": np.ones((1, 2)), "b": np.ones((1, 2), np.int64), "c": np.array([["x"]])}
    examples = Examples.of([arrays])
    assert examples.are_double
    single = examples.in_single_precision().samples[0]
    assert [array.dtype.kind + str(array.dtype.itemsize) for array in single.values()] == ["f4", "i8", "U4"]


@pytest.mark.parametrize("samples", [[], [{}], [{"x": np.ones((0, 4))}]])
def test_no_rows_are_refused(samples: list[dict[str, np.ndarray]]) -> None:
    """There would be nothing to compare."""
    with pytest.raises(UsageError, match="are empty"):
        Examples.of(samples)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=5))
def test_batches_hold_rows_of_the_samples_and_of_one_shape(shapes: list[tuple[int, int]]) -> None:
    """At each size, and every shape at every size."""
    numbers = iter(range(100))
    samples = [{"x": np.array([[next(numbers)] * width for _row in range(rows)], np.float32)} for rows, width in shapes]
    rows = {tuple(row) for sample in samples for row in sample["x"]}
    seen = set()
    for size, arrays in Examples.of(samples).batches():
        assert arrays["x"].shape[0] == size
        assert {tuple(row) for row in arrays["x"]} <= rows
        seen.add((size, arrays["x"].shape[1]))
    assert seen == {(size, width) for size in (1, 2, 3, 5, 8) for _rows, width in shapes}
