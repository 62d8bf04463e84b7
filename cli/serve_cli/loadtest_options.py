"""The options of `serve loadtest`: many, so that they do not hide what the command does."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class SharedMemory(StrEnum):
    """Where the inputs are."""

    NONE = "none"
    SYSTEM = "system"


Url = Annotated[str, typer.Argument(help="http://host:8000, https://…, grpc://host:8001 or grpcs://….")]
Model = Annotated[str, typer.Option("--model", "-m", help="The model to send requests to.", show_default=False)]
ModelVersion = Annotated[str, typer.Option(metavar="N", help="Its version; the latest one by default.")]
Concurrency = Annotated[
    str | None,
    typer.Option("--concurrency", "-c", metavar="N", help="Closed loop: 8, 1,4,16, 1..64 (doubling) or 10..50:10."),
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", "-r", metavar="N", help="Open loop, requests/s: 200, 100..1000 (ten steps), 100..1000:50."),
]
Poisson = Annotated[bool, typer.Option("--poisson", help="Let the arrivals of --rate be independent of each other.")]
Ramp = Annotated[str | None, typer.Option(metavar="FROM..TO", help="Open loop whose rate grows over the duration.")]
Seconds = float
Duration = Annotated[
    Seconds | None, typer.Option(metavar="SECONDS", min=0.01, help="How long to measure each point; 10 by default.")
]
Warmup = Annotated[Seconds, typer.Option(metavar="SECONDS", min=0, help="How long to send before that, uncounted.")]
RequestCount = Annotated[
    int | None, typer.Option("--requests", "-n", metavar="N", min=1, help="End a point with its N-th request.")
]
Repeat = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Measure every point N times, for intervals; 1, or 3 with --find."),
]
Timeout = Annotated[Seconds, typer.Option(metavar="SECONDS", min=0.001, help="When a request counts as timed out.")]
BatchSize = Annotated[int, typer.Option("--batch-size", "-b", metavar="N", min=1, help="Inferences in a request.")]
Processes = Annotated[int, typer.Option(metavar="N", min=1, help="Generator processes, one core each.")]
Connections = Annotated[int, typer.Option(metavar="N", min=1, help="The most connections that an open loop opens.")]
Shape = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="INPUT:DIMS", help="Sizes of free dims, without the batch: IN:3,224,224."),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Of generated data and Poisson arrivals.")]
ReplayFile = Annotated[
    Path | None, typer.Option("--replay", metavar="FILE", help="Open loop that replays recorded arrival times.")
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="PATH", help=".npz, .npy, folder of .npy, KServe or perf_analyzer JSON."),
]
Expected = Annotated[
    Path | None, typer.Option("--expected", metavar="PATH", help="The outputs to expect of --data, for --validate.")
]
SamplesFrom = Annotated[
    Path | None,
    typer.Option("--repository", metavar="FOLDER", help="Send the samples kept in this packaged repository."),
]
Validate = Annotated[bool, typer.Option("--validate", help="Compare every reply with the expected outputs.")]
StringLength = Annotated[int, typer.Option(metavar="N", min=0, help="Letters in generated strings.")]
SequenceLength = Annotated[int, typer.Option(metavar="N", min=1, help="Requests in a sequence to a stateful model.")]
Streaming = Annotated[bool, typer.Option("--streaming", help="gRPC streams, as decoupled models need them.")]
SharedMemoryName = Annotated[
    SharedMemory,
    typer.Option("--shared-memory", help="How inputs travel; 'system': the server is on this machine."),
]
MetricsUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Triton's /metrics: adds pending requests, GPU and CPU figures.")
]
