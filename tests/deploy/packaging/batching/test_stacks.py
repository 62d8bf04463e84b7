"""Which rows are stacked together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.packaging.batching.stacks import (
    LARGEST_STACK,
    Row,
    Trial,
    TrialPlan,
    gaps,
    plan_trials,
    shared_places,
    stack_sizes,
)

_MEGABYTE = 1 << 20


def make_rows(plain: int, crowd: int, elements: int = 1) -> list[Row]:
    """Rows of one input and no output, the plain ones first."""
    kinds = ["sample"] * plain + ["loud"] * crowd
    return [Row({"x": np.full((1, elements), number, np.float64)}, {}, kind) for number, kind in enumerate(kinds)]


def all_trials(plan: TrialPlan) -> list[Trial]:
    return [*plan.needed, *plan.sizes, *plan.further]


def sizes_of(trials: Sequence[Trial]) -> list[int]:
    return [len(trial.stack) for trial in trials]


@pytest.mark.parametrize(
    ("limit", "row_bytes", "sizes"),
    [
        (2, 8, [2]),
        (3, 8, [2, 3]),
        (8, _MEGABYTE, [2, 3, 4, 5, 6, 7, 8]),
        (16, 8, list(range(2, 17))),
        (16, 100 * _MEGABYTE, list(range(2, 17))),
        (17, 8, [*range(2, 17), 17]),
        (32, 8, [*range(2, 17), 32]),
        (33, 8, [*range(2, 17), 32, 33]),
        (100, 8, [*range(2, 17), 32, 64, 100]),
        (64, _MEGABYTE // 2, [*range(2, 17), 32]),
        (64, _MEGABYTE // 2 + 1, list(range(2, 17))),
    ],
)
def test_runs_every_small_size_and_large_ones_of_small_rows(limit: int, row_bytes: int, sizes: list[int]) -> None:
    """Each size to 16; beyond that doubling sizes and the limit, while inputs and outputs stay within 16 MB."""
    assert stack_sizes(limit, row_bytes) == sizes


@pytest.mark.parametrize(
    ("sizes", "limit", "missing"),
    [
        ((1, 2, 3), 3, ()),
        ((1, 2, 3, 8), 8, ((4, 7),)),
        ((1, 2, 3, 5), 8, ((4, 4), (6, 8))),
        ((3,), 4, ((1, 2), (4, 4))),
        ((1, 2, 3), 2, ()),
        ((), 2, ((1, 2),)),
    ],
)
def test_names_the_sizes_between(sizes: tuple[int, ...], limit: int, missing: tuple[tuple[int, int], ...]) -> None:
    """What was not run is listed as ranges, first and last included."""
    assert gaps(sizes, limit) == missing


@given(st.sets(st.integers(1, 40)), st.integers(1, 40))
def test_sizes_and_gaps_cover_each_size_once(sizes: set[int], limit: int) -> None:
    """Every size up to the limit was run or is in one gap."""
    missing = [size for low, high in gaps(tuple(sizes), limit) for size in range(low, high + 1)]
    assert sorted([*missing, *(size for size in sizes if size <= limit)]) == list(range(1, limit + 1))


@given(st.integers(1, 5), st.integers(0, 9), st.integers(2, 40))
def test_every_size_up_to_sixteen_is_run(plain: int, crowd: int, limit: int) -> None:
    """Whatever rows there are; none beyond the limit, and none of a single row."""
    plan = plan_trials(make_rows(plain, crowd), limit)
    assert set(sizes_of([*plan.needed, *plan.sizes])) >= set(range(2, min(limit, LARGEST_STACK) + 1))
    assert all(2 <= size <= limit for size in sizes_of(all_trials(plan)))


@given(st.integers(1, 5), st.integers(0, 9), st.integers(2, 20))
def test_the_second_stack_holds_some_rows_in_their_places(plain: int, crowd: int, limit: int) -> None:
    """So that what changes between the two comes from the neighbours alone."""
    for trial in all_trials(plan_trials(make_rows(plain, crowd), limit)):
        if trial.other:
            assert len(trial.other) == len(trial.stack)
            shared = set(shared_places(trial))
            assert {index for index, row in enumerate(trial.stack) if row.is_plain and crowd} <= shared or not crowd
            assert shared


def test_neighbours_are_exchanged_for_plain_rows() -> None:
    """Two plain rows stay in their places; beside them stand first others, then the other plain rows."""
    (trial,) = [trial for trial in plan_trials(make_rows(4, 12), 8).needed if trial.other]
    assert list(shared_places(trial)) in ([0, 2], [1, 3])
    assert [row.is_plain for row in trial.stack].count(True) == 2
    assert all(row.is_plain for row in trial.other)


@pytest.mark.parametrize("limit", [2, 3, 4, 5, 16])
def test_no_row_is_exchanged_for_one_that_is_there(limit: int) -> None:
    """A copy beside a row tells less than another one."""
    (trial,) = [trial for trial in plan_trials(make_rows(4, 12), limit).needed if trial.other]
    assert len({id(row) for row in trial.other}) == len(trial.other) == min(limit, 4)


def test_samples_alone_are_each_others_neighbours() -> None:
    """Where the model refuses every other row: none beside itself, and each as often as the others."""
    rows = make_rows(4, 0)
    two, three, eight, _ = plan_trials(rows, 8).needed
    assert [len({id(row) for row in trial.stack}) for trial in (two, three)] == [2, 3]
    assert Counter(id(row) for row in eight.stack) == {id(row): 2 for row in rows}


def test_with_time_all_neighbours_are_exchanged_at_the_limit() -> None:
    """Plain rows stay in every second place; every other place has another row."""
    (trial,) = [trial for trial in plan_trials(make_rows(4, 12), 8).further if len(trial.other) == 8]
    assert list(shared_places(trial)) in ([0, 2, 4, 6], [1, 3, 5, 7])
    shared = [trial.stack[index] for index in shared_places(trial)]
    assert [row.is_plain for row in shared] == [True] * 4
    assert len({id(row) for row in shared}) == 4
    crowd = [row for stack in (trial.stack, trial.other) for row in stack if not row.is_plain]
    assert len({id(row) for row in crowd}) == 8


def test_one_stack_shares_no_place_with_another() -> None:
    """There is none to compare with."""
    assert list(shared_places(Trial(tuple(make_rows(2, 0))))) == []


def test_needs_small_sizes_and_the_largest() -> None:
    """Two and three rows first, since they are the easiest to read; then the limit; then exchanged neighbours."""
    plan = plan_trials(make_rows(4, 4), 8)
    assert sizes_of(plan.needed) == [2, 3, 8, 4]
    assert [bool(trial.other) for trial in plan.needed] == [False, False, False, True]


@pytest.mark.parametrize(
    ("limit", "needed"),
    [(2, [2]), (3, [2, 3]), (4, [2, 3, 4]), (5, [2, 3, 5, 4]), (16, [2, 3, 16, 4]), (64, [2, 3, 16, 4])],
)
def test_the_largest_that_is_needed_is_sixteen(limit: int, needed: list[int]) -> None:
    """A model is not run at 64 before it is known to run at 16."""
    assert sizes_of(plan_trials(make_rows(4, 4), limit).needed) == needed


def test_stacks_a_row_with_copies_of_itself() -> None:
    """What counts or drops equal rows shows in a batch of copies: one less than the limit, and as many."""
    plan = plan_trials(make_rows(4, 8), 8)
    copies = [len(trial.stack) for trial in all_trials(plan) if len({id(row) for row in trial.stack}) == 1]
    assert copies == [7, 8]


def test_stacks_the_samples_without_a_crowd() -> None:
    """What holds for all rows of a batch at once must hold in one, too; and equal rows lie beside each other."""
    rows = make_rows(4, 8)
    stacks = [stack for trial in all_trials(plan_trials(rows, 8)) for stack in (trial.stack, trial.other)]
    assert any({id(row) for row in stack} == {id(row) for row in rows[:4]} for stack in stacks)
    assert tuple(rows[number] for number in (0, 0, 1, 1, 2, 2, 3, 3)) in stacks


def test_deals_out_the_whole_crowd() -> None:
    """No kind of row is left out where there is time."""
    rows = make_rows(4, 17)
    dealt = {id(row) for trial in all_trials(plan_trials(rows, 8)) for row in (*trial.stack, *trial.other)}
    assert dealt == {id(row) for row in rows}


def test_plain_rows_and_others_come_first_in_turns() -> None:
    """What is read from the first row for all is seen from plain rows and from others, from the first trials on."""
    mixed = [trial for trial in all_trials(plan_trials(make_rows(4, 8), 8)) if not all(r.is_plain for r in trial.stack)]
    firsts = [trial.stack[0].is_plain for trial in mixed]
    assert firsts == [number % 2 == 0 for number in range(len(mixed))]


def test_the_crowd_is_dealt_in_its_order() -> None:
    """Those that tell most come first in it, and there may be no time for all."""
    rows = make_rows(4, 20)
    needed = plan_trials(rows, 8).needed
    dealt = [row for trial in needed for row in trial.stack if not row.is_plain]
    assert [id(row) for row in dealt] == [id(row) for row in rows[4 : 4 + len(dealt)]]


def test_large_rows_are_not_run_beyond_sixteen() -> None:
    """A batch of 64 pictures may not fit in memory."""
    rows = make_rows(2, 2, elements=_MEGABYTE)
    assert max(sizes_of(all_trials(plan_trials(rows, 64)))) == 16
