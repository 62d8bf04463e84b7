"""From options and model to the requests that the workers send."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Regions, Sample, grpc_request, http_body, http_request
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.clients.exchange import Request
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.rotation import (
    FIRST_ID,
    ID_COUNT,
    RequestSource,
    Rotation,
    Sequences,
    Template,
    encode_varint,
)

_STEPS = ((False, False), (False, True), (True, False), (True, True))


def build_source(
    options: LoadTestOptions, model: Model, samples: Sequence[Sample], regions: Sequence[Regions | None]
) -> RequestSource:
    """Ready requests in rotation, or sequences of them where the model keeps state."""
    encoder = _Encoder(options, model)
    if not model.is_sequence:
        return Rotation(
            tuple(
                Request(encoder.encode(sample, region, {}), _expected(options, sample))
                for sample, region in zip(samples, regions, strict=True)
            )
        )
    first_id = random.randrange(FIRST_ID, FIRST_ID + ID_COUNT)  # noqa: S311 - apart from other clients' ids, not secret
    templates = [
        tuple(encoder.build_template(sample, region, start, end) for start, end in _STEPS)
        for sample, region in zip(samples, regions, strict=True)
    ]
    return Sequences(tuple(templates), options.sequence_length, first_id)  # type: ignore[arg-type]  # four of them


def _expected(options: LoadTestOptions, sample: Sample) -> Any:
    return sample.outputs if options.validate else None


def check_options(options: LoadTestOptions, model: Model) -> None:
    """UsageError where the model does not take what is asked for."""
    largest = max(model.max_batch_size, 1)
    if options.batch_size > largest:
        raise UsageError(
            f"--batch-size {options.batch_size}: {model.name} takes at most {largest} in a request",
            hint="its max_batch_size says so",
        )
    if model.is_decoupled and not options.streaming:
        raise UsageError(
            f"{model.name} is decoupled: it may answer a request many times, or never",
            hint="measure it over gRPC with --streaming",
        )
    if options.streaming and options.endpoint.protocol != "grpc":
        raise UsageError("--streaming needs gRPC", hint="give the endpoint as grpc://host:8001")
    if model.is_sequence and options.endpoint.protocol == "http" and options.endpoint.compression:
        raise UsageError("--compression with a stateful model works over gRPC only")


class _Encoder:
    """Builds one request's bytes, in the endpoint's protocol."""

    def __init__(self, options: LoadTestOptions, model: Model) -> None:
        self._options = options
        self._model = model

    def encode(self, sample: Sample, regions: Regions | None, parameters: dict[str, Any]) -> bytes:
        options, model = self._options, self._model
        if options.endpoint.protocol == "http":
            body, json_length = http_body(model, sample, parameters=parameters, regions=regions)
            return http_request(options.endpoint, model, options.model_version, body, json_length)
        if options.streaming:
            parameters = {**parameters, "triton_enable_empty_final_response": True}
        return grpc_request(model, options.model_version, sample, parameters=parameters, regions=regions)

    def build_template(self, sample: Sample, regions: Regions | None, start: bool, end: bool) -> Template:
        parameters = {"sequence_id": FIRST_ID, "sequence_start": start, "sequence_end": end}
        is_varint = self._options.endpoint.protocol == "grpc"
        marker = encode_varint(FIRST_ID) if is_varint else b"%d" % FIRST_ID
        marker = (b"\x10" + marker) if is_varint else (b'"sequence_id": ' + marker)
        before, _, after = _split_last(self.encode(sample, regions, parameters), marker, is_varint)
        return Template(before, after, is_varint, _expected(self._options, sample))


def _split_last(content: bytes, marker: bytes, is_last: bool) -> tuple[bytes, bytes, bytes]:
    # The name of the field stays; only the number is the gap. Parameters end a gRPC request, and open an HTTP one's
    # JSON before any tensor's bytes.
    number_length = len(encode_varint(FIRST_ID)) if is_last else len(str(FIRST_ID))
    index = content.rindex(marker) if is_last else content.index(marker)
    gap = index + len(marker) - number_length
    return content[:gap], content[gap : gap + number_length], content[gap + number_length :]
