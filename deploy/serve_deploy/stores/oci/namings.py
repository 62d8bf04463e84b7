"""Tags that say when a snapshot was named: registries keep no times, and have no writes with a condition.

    named-20261127T043708Z-ID-TAG   a push, or `serve snapshots --use`, was about to point TAG to ID
    removing-20261127T043708Z-ID    a prune removes ID

Each is written once and never moved, so that pushes at once cannot lose each other's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_FORMAT = "%Y%m%dT%H%M%SZ"
_TIME, _ID = r"(\d{8}T\d{6}Z)", r"([0-9a-f]{16})"
_NAMED, _REMOVING = re.compile(rf"named-{_TIME}-{_ID}-(.+)"), re.compile(rf"removing-{_TIME}-{_ID}")
# Registries take tags of 128 characters.
_LONGEST_TAG = 128 - len("named-20261127T043708Z-0123456789abcdef-")


@dataclass(frozen=True, order=True)
class Naming:
    """When a snapshot was named, by which tag; of a removal, when it began, and no tag. `written` is the tag itself."""

    seconds: float
    snapshot: str
    tag: str
    written: str

    def is_by(self, tag: str) -> bool:
        """Whether it was this tag."""
        return self.tag == tag[:_LONGEST_TAG]


def naming_tag(seconds: float, snapshot: str, tag: str) -> str:
    """The tag that records that a snapshot is named by another tag."""
    return f"named-{_write(seconds)}-{snapshot}-{tag[:_LONGEST_TAG]}"


def removal_tag(seconds: float, snapshot: str) -> str:
    """The tag that says that a snapshot is being removed."""
    return f"removing-{_write(seconds)}-{snapshot}"


def is_record(tag: str) -> bool:
    """Whether a tag is one of these."""
    return bool(_NAMED.fullmatch(tag) or _REMOVING.fullmatch(tag))


def read_namings(tags: Iterable[str]) -> tuple[Naming, ...]:
    """What a repository's tags record, the oldest first."""
    found = (match for tag in tags if (match := _NAMED.fullmatch(tag)))
    return tuple(
        sorted(Naming(time, each[2], each[3], each[0]) for each in found if (time := _read(each[1])) is not None)
    )


def read_removals(tags: Iterable[str]) -> tuple[Naming, ...]:
    """The removals that are under way, or were when they were killed; the oldest first."""
    found = (match for tag in tags if (match := _REMOVING.fullmatch(tag)))
    return tuple(sorted(Naming(time, each[2], "", each[0]) for each in found if (time := _read(each[1])) is not None))


def find_previous(namings: Iterable[Naming], tag: str, current: str) -> str | None:
    """The snapshot that a tag named before its current one, as far as that was recorded."""
    own = sorted(each for each in namings if each.is_by(tag))
    since = max((each.seconds for each in own if each.snapshot == current), default=float("inf"))
    before = [each.snapshot for each in own if each.snapshot != current and each.seconds <= since]
    return before[-1] if before else None


def _write(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(_FORMAT)


def _read(text: str) -> float | None:
    """None of what is no time, such as month 13."""
    try:
        return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
