"""Which settings are measured: all of a few, and of many those that look best."""

from __future__ import annotations

from serve_deploy.tuning.candidates.candidate import Value
from serve_deploy.tuning.candidates.search import FEW, search_settings


def _search(choices: dict[str, tuple[Value, ...]], score, **options: int) -> list[dict[str, Value]]:
    seen: list[dict[str, Value]] = []

    def evaluate(values: dict[str, Value]) -> float | None:
        seen.append(values)
        return score(values)

    search_settings(choices, evaluate, seed=0, **options)
    return seen


def test_a_few_combinations_are_all_measured() -> None:
    """Each once."""
    seen = _search({"a": (1, 2, 3), "b": ("x", None)}, lambda _values: 1.0)
    assert len(seen) == len({tuple(each.items()) for each in seen}) == 6


def test_of_many_combinations_good_ones_are_found() -> None:
    """Of 512 settings 40 are measured, none twice, and one of the best 5 % is among them."""
    choices = {name: tuple(range(8)) for name in "abc"}
    seen = _search(choices, lambda values: -sum((value - 5) ** 2 for value in values.values()), trials=40)
    assert len(seen) == len({tuple(each.items()) for each in seen}) == 40
    assert len(choices["a"]) ** 3 > FEW
    assert min(sum((value - 5) ** 2 for value in each.values()) for each in seen) <= 3


def test_a_setting_that_fails_is_not_asked_for_again() -> None:
    """The search goes on without it."""
    seen = _search({name: tuple(range(4)) for name in "ab"}, lambda values: None if values["a"] else 1.0, trials=10)
    assert len(seen) == len({tuple(each.items()) for each in seen}) == 10
