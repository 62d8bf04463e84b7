"""What a load test is asked to do; the same for the command and for Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.arrivals.shapes import ClosedLoop, LoadShape, Ramp, Replay
from serve_deploy.endpoint.address import Endpoint, read_endpoint
from serve_deploy.endpoint.readiness import WaitSeconds
from serve_deploy.loadtest.options.generation import GenerationOptions
from serve_deploy.loadtest.options.loads import Loads, Search, parse_loads
from serve_deploy.option import Made, Option
from serve_deploy.reports.options import JudgingOptions
from serve_deploy.stores.repository_option import read_repository
from serve_deploy.tensors.shape_text import parse_shape

_LOAD, _REQUESTS, _GENERATOR = "Load", "Requests", "Load generator"
_SECONDS = 10.0
_REPLY_SECONDS, _ANSWER_SECONDS = 30.0, 600.0
_SEARCH_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class LoadTestOptions:
    """One point is measured for each of `loads`, or for each load that a search tries, `repeat` times.

    A period ends after `duration_seconds`, or with the `requests`-th request if that comes first.
    """

    model: Annotated[str, Option("Model to send requests to.", metavar="NAME", group=_LOAD)]
    model_version: Annotated[str, Option("Its version; by default the latest.", metavar="N", group=_LOAD)] = ""
    loads: Annotated[Loads, Made(parse_loads)] = (ClosedLoop(1),)
    duration_seconds: Annotated[
        float | None, Option("Measure each load for this long; by default 10.", minimum=0.01, group=_LOAD)
    ] = None
    requests: Annotated[int | None, Option("Measure each load for N requests.", minimum=1, group=_LOAD)] = None
    warmup_seconds: Annotated[
        float, Option("Send requests for this long before each measurement, uncounted.", minimum=0, group=_LOAD)
    ] = 1.0
    repeat: Annotated[
        int | None,
        Option("Measure each load N times, for intervals; by default 1, or 3 with `find`.", minimum=1, group=_LOAD),
    ] = None
    timeout_seconds: Annotated[
        float | None,
        Option(
            "Count a request as timed out after this long; by default 30, or 600 with `generate`.",
            minimum=0.001,
            group=_LOAD,
        ),
    ] = None
    wait_seconds: WaitSeconds = 0.0
    judging: Annotated[JudgingOptions, Made(JudgingOptions)] = field(default_factory=JudgingOptions)
    batch_size: Annotated[int, Option("Inferences in each request.", minimum=1, group=_REQUESTS)] = 1
    data: Annotated[
        Path | None,
        Option("Send this data: .npz, .npy, folder of .npy, KServe or perf_analyzer JSON.", group=_REQUESTS),
    ] = None
    expected: Annotated[Path | None, Option("Outputs to expect for `data`, with `validate`.", group=_REQUESTS)] = None
    repository: Annotated[
        Path | None,
        Option(
            "Send the samples kept in this packaged repository, or store.",
            metavar="FOLDER",
            group=_REQUESTS,
            read=read_repository,
        ),
    ] = None
    validate: Annotated[bool, Option("Compare every reply with the expected outputs.", group=_REQUESTS)] = False
    shapes: Annotated[
        tuple[tuple[str, tuple[int, ...]], ...],
        Option(
            "Sizes of free dims in generated data, without the batch axis: IN:3,224,224.",
            metavar="INPUT:DIMS",
            group=_REQUESTS,
            read=parse_shape,
        ),
    ] = ()
    string_length: Annotated[int, Option("Letters in generated strings.", minimum=0, group=_REQUESTS)] = 16
    seed: Annotated[int, Option("Seed for generated data and Poisson arrivals.", group=_REQUESTS)] = 0
    sequence_length: Annotated[
        int, Option("Requests in each sequence to a stateful model.", minimum=1, group=_REQUESTS)
    ] = 20
    streaming: Annotated[bool, Option("Use gRPC streams; decoupled models need them.", group=_REQUESTS)] = False
    shared_memory: Annotated[
        Literal["none", "system"],
        Option("Pass inputs in shared memory; system: the server is on this machine.", group=_REQUESTS),
    ] = "none"
    generation: Annotated[GenerationOptions, Made(GenerationOptions)] = field(default_factory=GenerationOptions)
    processes: Annotated[int, Option("Generator processes; each uses one core.", minimum=1, group=_GENERATOR)] = 1
    connections: Annotated[int, Option("Most connections that an open loop may open.", minimum=1, group=_GENERATOR)] = (
        1000
    )
    metrics_url: Annotated[
        str | None,
        Option("Triton's /metrics; adds pending requests, GPU and CPU figures.", metavar="URL", group=_GENERATOR),
    ] = None
    metrics_port: Annotated[
        str | None,
        Option("Serve live Prometheus metrics during the run.", metavar="[HOST:]PORT", group=_GENERATOR),
    ] = None
    endpoint: Annotated[Endpoint, Made(read_endpoint)]

    @property
    def generates(self) -> bool:
        """Whether token streams are measured."""
        return self.generation.generate is not None

    @property
    def patience_seconds(self) -> float:
        """How long a request may take: 30 s, a whole answer of a language model 600 s, unless said otherwise."""
        return self.timeout_seconds or (_ANSWER_SECONDS if self.generates else _REPLY_SECONDS)

    @property
    def repeats(self) -> int:
        """How often each load is measured: once, or three times in a search, unless `repeat` says otherwise."""
        return self.repeat or (_SEARCH_REPEATS if isinstance(self.loads, Search) else 1)

    def seconds_of(self, shape: LoadShape) -> float:
        """How long a load is measured at most: 10 s unless said otherwise, or ended by its requests or recording."""
        if self.duration_seconds is not None:
            return self.duration_seconds
        ends = isinstance(shape, Replay) or (self.requests is not None and not isinstance(shape, Ramp))
        return float("inf") if ends else _SECONDS
