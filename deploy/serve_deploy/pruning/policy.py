"""Which snapshots of a store may go: those beyond the newest that nothing names, and uploads that nobody ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

# An upload that is younger may only have been interrupted, and be resumed.
ABANDONED_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class HeldSnapshot:
    """A snapshot as a store lists it: complete where its manifest stands; times are the store's, None where unknown."""

    id: str
    is_complete: bool
    written_seconds: float | None
    files: int
    size_bytes: int


@dataclass(frozen=True)
class SnapshotPolicy:
    """How many of the newest stay, and how old the others must be to go; None: any age."""

    keep: int
    older_than_seconds: float | None


@dataclass(frozen=True)
class JudgedSnapshots:
    """What can go, the oldest first, and why each other beyond the newest stays."""

    removable: tuple[HeldSnapshot, ...]
    kept: tuple[str, ...]


def judge_snapshots(
    held: Sequence[HeldSnapshot],
    policy: SnapshotPolicy,
    *,
    current: Collection[str | None],
    named: Mapping[str, str],
    now: float,
) -> JudgedSnapshots:
    """Judge each snapshot; `current` are the current one and the one before it, `named` says what else names some."""
    newest = sorted(held, key=lambda each: _age_key(each, current), reverse=True)
    complete = [each for each in newest if each.is_complete]
    begun = [each for each in newest if not each.is_complete]
    older = [each for each in complete[policy.keep :] if each.id not in current]
    removable, kept = [], []
    for each in [*older, *(each for each in begun if each.id not in current)]:
        if reason := _why_kept(each, policy, named, now):
            kept.append(f"{_describe(each)}: {reason}")
        else:
            removable.append(each)
    return JudgedSnapshots(tuple(reversed(removable)), tuple(kept))


def _age_key(snapshot: HeldSnapshot, current: Collection[str | None]) -> tuple[float, bool, str]:
    """One whose time is not known may be the newest; of several within the store's own second those that count are."""
    time = float("inf") if snapshot.written_seconds is None else snapshot.written_seconds
    return (time, snapshot.id in current, snapshot.id)


def _describe(snapshot: HeldSnapshot) -> str:
    return f"snapshot {snapshot.id}" if snapshot.is_complete else f"the unfinished upload of {snapshot.id}"


def _why_kept(snapshot: HeldSnapshot, policy: SnapshotPolicy, named: Mapping[str, str], now: float) -> str:
    if said := named.get(snapshot.id):
        return f"{said} names it"
    least = policy.older_than_seconds or 0.0
    if not snapshot.is_complete:
        least = max(least, ABANDONED_SECONDS)
    if not least:
        return ""
    if snapshot.written_seconds is None:
        return "the store does not say how old it is"
    if now - snapshot.written_seconds > least:
        return ""
    return f"it is not {_write_age(least)} old" if snapshot.is_complete else "it may still be going on, or be resumed"


def _write_age(seconds: float) -> str:
    hours = round(seconds / 3600)
    days, rest = divmod(hours, 24)
    return f"{hours} {'hour' if hours == 1 else 'hours'}" if rest or not days else f"{days} day{'s' * (days != 1)}"
