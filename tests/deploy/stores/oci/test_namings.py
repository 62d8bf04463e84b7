"""Tags that record when a snapshot was named."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.oci.namings import (
    find_previous,
    is_record,
    naming_tag,
    read_namings,
    read_removals,
    removal_tag,
)
from serve_deploy.stores.oci.reference import writable_reference

IDS = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
TAGS = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
TIMES = st.integers(946_684_800, 4_102_444_800)


@given(seconds=TIMES, identity=IDS, tag=TAGS)
def test_what_is_recorded_is_read_again(seconds: int, identity: str, tag: str) -> None:
    """In a tag that any registry takes; of a long tag's name enough to know it by."""
    written, removing = naming_tag(seconds, identity, tag), removal_tag(seconds, identity)
    assert re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", written)
    ((naming,), (removal,)) = read_namings([written, removing]), read_removals([written, removing])
    assert (naming.seconds, naming.snapshot, naming.is_by(tag), naming.written) == (seconds, identity, True, written)
    assert (removal.seconds, removal.snapshot, removal.written) == (seconds, identity, removing)


@given(tag=TAGS | st.from_regex(r"(named|removing)-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}(-v1)?", fullmatch=True))
def test_any_other_tag_is_none(tag: str) -> None:
    """Nor is one with a time that there is not, such as month 13."""
    found = (*read_namings([tag]), *read_removals([tag]))
    assert all(each.written == tag and is_record(tag) for each in found)


def test_the_one_before_is_that_of_the_same_tag() -> None:
    """As of when the current one was named last; what was recorded after it never counted."""
    a, b, c = "a" * 16, "b" * 16, "c" * 16
    records = [(1, a, "v1"), (2, c, "v2"), (3, b, "v1"), (4, c, "v1")]
    namings = read_namings(naming_tag(each[0] * 1e6, *each[1:]) for each in records)
    assert [find_previous(namings, "v1", current) for current in (a, b, c)] == [None, a, b]
    assert find_previous(namings, "v2", c) is None
    assert find_previous(namings, "v1", "d" * 16) == c


@pytest.mark.parametrize("tag", [naming_tag(0, "a" * 16, "v1"), removal_tag(0, "a" * 16)])
def test_nobody_pushes_to_a_record(tag: str) -> None:
    """It would say what never was."""
    with pytest.raises(UsageError, match="records when a snapshot was named"):
        writable_reference(parse_address(f"oci://registry.example/team/models:{tag}"))
