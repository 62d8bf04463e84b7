"""Which request comes next: samples in rotation, or sequences with their correlation ids. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from serve_deploy.loadtest.clients.exchange import Request

NextRequest = Callable[[], Request]
# All ids have ten digits, and fit a signed 32-bit control tensor.
FIRST_ID = 1_000_000_000
ID_COUNT = (1 << 31) - FIRST_ID


class RequestSource(Protocol):
    """Opened once in each worker; then every slot asks for its own stream of requests."""

    def open(self, worker: int, workers: int) -> Callable[[], NextRequest]: ...


@dataclass(frozen=True)
class Rotation:
    """All slots of a worker share one round through the samples; the workers start at different ones."""

    requests: tuple[Request, ...]

    def open(self, worker: int, _workers: int) -> Callable[[], NextRequest]:
        """One endless round, from the worker's own start."""
        start = worker % len(self.requests)
        endless = itertools.cycle(self.requests[start:] + self.requests[:start])
        return lambda: endless.__next__


@dataclass(frozen=True)
class Template:
    """A request with a gap where the correlation id goes: in digits over HTTP, as a varint over gRPC."""

    before: bytes
    after: bytes
    is_varint: bool
    expected: Any = None

    def render(self, correlation_id: int) -> Request:
        """The request of one sequence."""
        number = encode_varint(correlation_id) if self.is_varint else b"%d" % correlation_id
        return Request(b"".join((self.before, number, self.after)), self.expected)


def encode_varint(value: int) -> bytes:
    """A protobuf varint; five bytes for every id that we use."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


@dataclass(frozen=True)
class Sequences:
    """Each slot sends one sequence after the other, each of `steps` requests: start, middle ones, end.

    `templates` holds, for every sample, those with (start, end) set to (no, no), (no, yes), (yes, no), (yes, yes).
    """

    templates: tuple[tuple[Template, Template, Template, Template], ...]
    steps: int
    first_id: int = FIRST_ID

    def open(self, worker: int, workers: int) -> Callable[[], NextRequest]:
        """Sequences whose ids no other worker uses."""
        ids = itertools.count(worker, workers)

        def follow() -> Iterator[Request]:
            while True:
                correlation_id = FIRST_ID + (self.first_id - FIRST_ID + next(ids)) % ID_COUNT
                for step in range(self.steps):
                    sample = self.templates[step % len(self.templates)]
                    yield sample[2 * (step == 0) + (step == self.steps - 1)].render(correlation_id)

        return lambda: follow().__next__
