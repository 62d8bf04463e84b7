"""The requests that the workers send, as bytes made once: samples in rotation, or sequences with correlation ids."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Regions, Sample, grpc_request, http_body, http_request
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.clients.exchange import Request
from serve_deploy.loadtest.clients.grpc_messages import frame_message
from serve_deploy.loadtest.options import LoadTestOptions

NextRequest = Callable[[], Request]
# All ids have ten digits, and fit a signed 32-bit control tensor.
FIRST_ID = 1_000_000_000
ID_COUNT = (1 << 31) - FIRST_ID
_STEPS = ((False, False), (False, True), (True, False), (True, True))


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
    protocol: Literal["http", "grpc"]
    compression: str | None = None
    expected: Any = None

    def render(self, correlation_id: int) -> Request:
        """The request of one sequence."""
        content = b"".join((self.before, _encode_id(correlation_id, self.protocol), self.after))
        return Request(frame_message(content, self.compression) if self.protocol == "grpc" else content, self.expected)


def _encode_id(value: int, protocol: str) -> bytes:
    return encode_varint(value) if protocol == "grpc" else b"%d" % value


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

    templates: tuple[tuple[Template, ...], ...]
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


def check_options(options: LoadTestOptions, model: Model) -> None:
    """UsageError where the model does not take what is asked for."""
    most = max(model.max_batch_size, 1)
    if options.batch_size > most:
        raise UsageError(
            f"`batch_size={options.batch_size}`: {model.name} takes at most {most} in a request",
            hint=f"its max_batch_size is {model.max_batch_size}",
        )
    if model.is_decoupled and not options.streaming:
        raise UsageError(
            f"{model.name} is decoupled: it may answer a request many times, or never",
            hint="measure it over gRPC with `streaming`, or a language model's tokens with `generate`",
        )
    if options.streaming and options.endpoint.protocol != "grpc":
        raise UsageError("`streaming` needs gRPC", hint="give the endpoint as grpc://host:8001")
    if model.is_sequence and options.endpoint.protocol == "http" and options.endpoint.compression:
        raise UsageError("`compression` with a stateful model works over gRPC only")


def build_source(
    options: LoadTestOptions, model: Model, samples: Sequence[Sample], regions: Sequence[Regions | None]
) -> RequestSource:
    """Ready requests in rotation, or sequences of them where the model keeps state."""
    encoder = _Encoder(options, model)
    pairs = tuple(zip(samples, regions, strict=True))
    if not model.is_sequence:
        return Rotation(tuple(encoder.build_request(*pair) for pair in pairs))
    first_id = random.randrange(FIRST_ID, FIRST_ID + ID_COUNT)  # noqa: S311 - apart from other clients' ids, not secret
    templates = tuple(tuple(encoder.build_template(*pair, start, end) for start, end in _STEPS) for pair in pairs)
    return Sequences(templates, options.sequence_length, first_id)


@dataclass(frozen=True)
class _Encoder:
    """Builds one request's bytes, in the endpoint's protocol."""

    options: LoadTestOptions
    model: Model

    def encode(self, sample: Sample, regions: Regions | None, parameters: dict[str, Any]) -> bytes:
        options, model = self.options, self.model
        if options.endpoint.protocol == "http":
            body, json_length = http_body(model, sample, parameters=parameters, regions=regions)
            return http_request(options.endpoint, model, options.model_version, body, json_length)
        if options.streaming:
            parameters = {**parameters, "triton_enable_empty_final_response": True}
        return grpc_request(model, options.model_version, sample, parameters=parameters, regions=regions)

    def build_request(self, sample: Sample, regions: Regions | None) -> Request:
        content, endpoint = self.encode(sample, regions, {}), self.options.endpoint
        if endpoint.protocol == "grpc":
            content = frame_message(content, endpoint.compression)
        return Request(content, self.expected(sample))

    def expected(self, sample: Sample) -> Any:
        return sample.outputs if self.options.validate else None

    def build_template(self, sample: Sample, regions: Regions | None, start: bool, end: bool) -> Template:
        parameters = {"sequence_id": FIRST_ID, "sequence_start": start, "sequence_end": end}
        content, endpoint = self.encode(sample, regions, parameters), self.options.endpoint
        is_varint = endpoint.protocol == "grpc"
        # The name of the field stays; only the number is the gap. Parameters end a gRPC request, and open an HTTP
        # one's JSON before any tensor's bytes.
        name, number = b"\x10" if is_varint else b'"sequence_id": ', _encode_id(FIRST_ID, endpoint.protocol)
        gap = (content.rindex if is_varint else content.index)(name + number) + len(name)
        return Template(
            content[:gap], content[gap + len(number) :], endpoint.protocol, endpoint.compression, self.expected(sample)
        )
