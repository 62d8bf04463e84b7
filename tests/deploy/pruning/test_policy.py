"""Which snapshots may go: the newest, the current, what is named and what may still go on stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.pruning.options import read_age
from serve_deploy.pruning.policy import ABANDONED_SECONDS, HeldSnapshot, SnapshotPolicy, judge_snapshots

NOW, DAY = 1_000_000_000.0, 24 * 3600.0


def held(identity: str, days: float | None, *, is_complete: bool = True) -> HeldSnapshot:
    """A snapshot of this age."""
    return HeldSnapshot(identity, is_complete, None if days is None else NOW - days * DAY, 3, 100)


def judge(
    *snapshots: HeldSnapshot, keep: int = 1, days: float | None = None, current: str = "-", **named: str
) -> tuple[list[str], list[str]]:
    """What goes, and why others stay."""
    policy = SnapshotPolicy(keep, None if days is None else days * DAY)
    judged = judge_snapshots(snapshots, policy, current=(current, None), named=named, now=NOW)
    return [each.id for each in judged.removable], list(judged.kept)


def test_the_newest_stay() -> None:
    """As many as it says; the oldest go first."""
    assert judge(held("c", 1), held("a", 9), held("b", 5), keep=1)[0] == ["a", "b"]


def test_the_current_one_stays_however_old() -> None:
    """It is not even mentioned."""
    assert judge(held("c", 1), held("a", 9), current="a") == ([], [])


def test_of_one_age_the_current_one_is_the_newest() -> None:
    """A store's clock may know whole seconds only."""
    assert judge(held("z", 1), held("a", 1), held("b", 1), keep=1, current="a")[0] == ["b", "z"]


def test_what_a_release_names_stays() -> None:
    """And who names it is said."""
    found = judge(held("c", 1), held("a", 9), a="revision 2 of release demo in namespace models")
    assert found == ([], ["snapshot a: revision 2 of release demo in namespace models names it"])


def test_younger_ones_stay() -> None:
    """An age holds for those beyond the newest."""
    assert judge(held("c", 1), held("b", 5), held("a", 31), days=30) == (["a"], ["snapshot b: it is not 30 days old"])


@pytest.mark.parametrize(("days", "left"), [(0.9, ["u"]), (1.1, []), (None, ["u"])])
def test_an_upload_that_may_go_on_stays(days: float | None, left: list[str]) -> None:
    """It is given up after a day."""
    removable, kept = judge(held("c", 1), held("u", days, is_complete=False))
    assert (removable, len(kept)) == ([each for each in ["u"] if each not in left], len(left))


def test_of_unknown_age_counts_as_newest() -> None:
    """What the store does not date is not taken for old."""
    assert judge(held("c", 1), held("x", None)) == (["c"], [])
    assert judge(held("c", 1), held("x", None), held("y", None), days=1)[1] == [
        "snapshot x: the store does not say how old it is",
        "snapshot c: it is not 1 day old",
    ]


snapshots = st.lists(
    st.tuples(st.integers(0, 40), st.one_of(st.none(), st.floats(0, 60)), st.booleans()), unique_by=lambda each: each[0]
)


@given(
    drawn=snapshots,
    keep=st.integers(1, 6),
    days=st.one_of(st.none(), st.floats(0, 60)),
    current=st.integers(0, 40),
    named=st.sets(st.integers(0, 40)),
)
def test_nothing_needed_is_ever_removed(
    drawn: list[tuple[int, float | None, bool]], keep: int, days: float | None, current: int, named: set[int]
) -> None:
    """Whatever a store holds: the newest, the current, the named and what is young enough stay, and all else goes."""
    all_held = [held(str(identity), age, is_complete=whole) for identity, age, whole in drawn]
    removed, _ = judge(
        *all_held, keep=keep, days=days, current=str(current), **{str(each): "someone" for each in named}
    )
    least = (days or 0) * DAY
    complete = [each for each in all_held if each.is_complete]
    newest = sorted(
        complete, key=lambda each: (each.written_seconds or NOW * 2, each.id == str(current), each.id), reverse=True
    )[:keep]
    for each in all_held:
        age = None if each.written_seconds is None else NOW - each.written_seconds
        needed = each.id == str(current) or int(each.id) in named or each in newest
        bound = max(least, 0 if each.is_complete else ABANDONED_SECONDS)
        young = bool(bound) and (age is None or age <= bound)
        assert (each.id in removed) == (not needed and not young), each


@pytest.mark.parametrize(("text", "seconds"), [("12h", 12 * 3600), ("30d", 30 * DAY), ("2w", 14 * DAY)])
def test_ages(text: str, seconds: float) -> None:
    """Hours, days and weeks."""
    assert read_age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "1y", "1d1h", "999999d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    """With how to write one."""
    with pytest.raises(UsageError, match="is not an age") as caught:
        read_age(text)
    assert "12h, 30d, 4w" in str(caught.value.hint)
