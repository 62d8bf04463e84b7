"""What is sent next: rotation, sequences, endpoints."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.clients.exchange import Request
from serve_deploy.loadtest.requests.source import FIRST_ID, ID_COUNT, Rotation, Sequences, Template, encode_varint


@given(st.integers(1, 7), st.integers(1, 4))
def test_rotation_is_fair_to_every_sample(samples: int, workers: int) -> None:
    """Each worker goes round all samples, from a start of its own."""
    rotation = Rotation(tuple(Request(b"%d" % number) for number in range(samples)))
    for worker in range(workers):
        following = rotation.open(worker, workers)()
        sent = [following().data for _ in range(3 * samples)]
        assert sent[0] == b"%d" % (worker % samples)
        assert set(Counter(sent).values()) == {3}


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, ID_COUNT - 1))
def test_sequences_of_all_slots_have_ids_of_their_own(workers: int, steps: int, offset: int) -> None:
    """Every sequence starts, goes on and ends under one id that nobody else uses, wherever the ids begin."""
    templates = tuple(Template(name + b" ", b"", "http") for name in (b"middle", b"end", b"start", b"only"))
    sequences = Sequences((templates,), steps, FIRST_ID + offset)
    seen: set[bytes] = set()
    for worker in range(workers):
        open_slot = sequences.open(worker, workers)
        for following in [open_slot() for _ in range(3)]:
            for _ in range(2):
                parts = [following().data.split() for _ in range(steps)]
                (number,) = {number for _, number in parts}
                assert number not in seen
                assert len(number) == 10
                seen.add(number)
                middle = [b"middle"] * (steps - 2)
                assert [name for name, _ in parts] == ([b"only"] if steps == 1 else [b"start", *middle, b"end"])


@given(st.integers(0, 2**31 - 1))
def test_varints_are_protobufs(value: int) -> None:
    """A varint decodes to itself, and every correlation id takes five bytes."""
    encoded = encode_varint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value
    assert len(encode_varint(FIRST_ID)) == len(encode_varint(FIRST_ID + ID_COUNT - 1)) == 5


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:8000", "http://host:8000"),
        ("host:9000", "http://host:9000"),
        ("http://host", "http://host:8000"),
        ("https://host/prefix/", "https://host:443/prefix"),
        ("grpc://host", "grpc://host:8001"),
        ("grpcs://[::1]:1", "grpcs://[::1]:1"),
    ],
)
def test_endpoints(url: str, expected: str) -> None:
    """A URL without port or scheme gets Triton's."""
    assert parse_endpoint(url).url == expected


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:port", "grpc://host/path", "http://[::1"])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    """The message quotes what was given."""
    with pytest.raises(UsageError, match=re.escape(url) or "endpoint"):
        parse_endpoint(url)
