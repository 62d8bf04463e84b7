"""One load shared out among several models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.arrivals.shapes import SharedLoop
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.loadtest import (
    ClosedLoop,
    ConstantRate,
    LoadTestOptions,
    MixOptions,
    PoissonRate,
    Ramp,
    Replay,
    Search,
    split_load,
)
from serve_deploy.loadtest.options.mix import parse_weight

ENDPOINT = parse_endpoint("http://127.0.0.1:8000")
WEIGHTS = st.lists(st.floats(0.01, 100), min_size=1, max_size=40)


def split(weights: list[float], *loads: Any, **options: Any) -> tuple[LoadTestOptions, ...]:
    names = tuple(f"m{index}" for index in range(len(weights)))
    return split_load(
        MixOptions(
            endpoint=ENDPOINT, models=names, weights=tuple(zip(names, weights, strict=True)), loads=loads, **options
        )
    )


@given(WEIGHTS, st.floats(0.1, 1e5))
def test_rates_add_up_by_weight(weights: list[float], rate: float) -> None:
    """The models' rates together are the rate asked for, each in proportion to its weight."""
    parts = split(weights, PoissonRate(rate))
    rates = [part.loads[0].rate for part in parts]  # type: ignore[index,union-attr]
    assert sum(rates) == pytest.approx(rate)
    assert [each / rates[0] for each in rates] == pytest.approx([weight / weights[0] for weight in weights])


def test_users_are_shared_by_turns() -> None:
    """Eight users at 3 to 1 call the first model three times, and the second once."""
    order = (0, 0, 1, 0)
    assert [part.loads for part in split([3, 1], ClosedLoop(8))] == [
        (SharedLoop(8, order, 0),), (SharedLoop(8, order, 1),)
    ]  # fmt: skip


@given(WEIGHTS, st.integers(0, 1000))
def test_requests_add_up_and_none_is_left_without(weights: list[float], spare: int) -> None:
    """The models' requests together are as many as asked for, and each model has one at least."""
    parts = split(weights, ClosedLoop(1), requests=len(weights) + spare)
    requests = [part.requests or 0 for part in parts]
    assert (sum(requests), min(requests) >= 1) == (len(weights) + spare, True)


def test_recorded_arrivals_are_all_sent_once() -> None:
    """Each recorded arrival goes to one of the models."""
    offsets = tuple(float(index) for index in range(100))
    parts = split([1, 3], Replay(offsets, "trace"))
    shared = [part.loads[0].offsets for part in parts]  # type: ignore[index,union-attr]
    assert sorted(shared[0] + shared[1]) == list(offsets)
    assert len(shared[0]) < len(shared[1])


def test_every_load_of_a_sweep_is_shared() -> None:
    """Each model is measured at its share of each load."""
    parts = split([1, 1], ConstantRate(100), Ramp(10, 20))
    assert [part.loads for part in parts] == [(ConstantRate(50), Ramp(5, 10))] * 2


def test_independent_arrivals_differ_between_models() -> None:
    """Each model has a seed of its own, or all would be asked at the same instants."""
    assert [part.seed for part in split([1, 1, 1], PoissonRate(9), seed=7)] == [7, 8, 9]


def test_one_model_keeps_everything() -> None:
    """With one model nothing is shared, and a search is allowed."""
    search = Search(variable="rate", start=1, limit=10)
    options = MixOptions(endpoint=ENDPOINT, models=("a",), loads=search)
    (part,) = split_load(options)
    assert (part.model, part.loads) == ("a", search)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("a", "a")}, "`models=a` is given twice"),
        ({"models": ("a", "b"), "weights": (("c", 2.0),)}, "c is not one of the models"),
        (
            {"models": ("a", "b"), "loads": (ConstantRate(9),), "requests": 1},
            "2 models share the load, and `requests` is 1",
        ),
        ({"models": ("a", "b"), "loads": Search(variable="rate", start=1, limit=9)}, "`find` searches for the load of"),
        ({"models": ("a", "b"), "loads": (Replay((0.0,), "t"),)}, "leaves a model without any"),
    ],
)
def test_what_cannot_be_shared_is_refused(options: dict[str, Any], message: str) -> None:
    """Each is a usage error that says which option."""
    with pytest.raises(UsageError, match=message):
        split_load(MixOptions(endpoint=ENDPOINT, **options))


@pytest.mark.parametrize("text", ["a", "a=", "=2", "a=0", "a=-1", "a=x", "a=inf", "a=nan"])
def test_weight_that_is_none(text: str) -> None:
    """A weight is a number above 0."""
    with pytest.raises(UsageError, match="is not a weight"):
        parse_weight(text)
