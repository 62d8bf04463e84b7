"""The options that `serve chart` and `serve plan` have in common: what the replicas are to bear, and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from serve_deploy.option import Option

SCALING = "Scaling"
DEFAULT_GROWTH_PERCENT = 10.0


def _read_mix(text: str) -> Mapping[str, float]:
    from serve_deploy.planning.traffic import read_mix

    return read_mix(text)


Slo = Annotated[
    tuple[str, ...],
    Option(
        "An objective, such as 'p99<50ms', or of token streams 'ttft_p99<500ms'; repeat it for several.",
        metavar="GATE",
        group=SCALING,
    ),
]
Mix = Annotated[
    Mapping[str, float] | None,
    Option(
        "Each model's share of the requests, where several were measured; by default equal.",
        metavar="MODEL=N,…",
        group=SCALING,
        read=_read_mix,
        joined=True,
    ),
]
Metric = Annotated[
    str | None,
    Option(
        "What counts the requests of a decoupled Python model: its gauge of requests in flight, or its histogram of"
        " request times (…_seconds).",
        metavar="NAME",
        group=SCALING,
    ),
]
MinReplicas = Annotated[int | None, Option("Fewest replicas.", group=SCALING)]
MaxReplicas = Annotated[int | None, Option("Most replicas.", group=SCALING)]
BaseRate = Annotated[
    float | None, Option("Requests/s at the quietest time, to derive `min_replicas`.", metavar="N", group=SCALING)
]
PeakRate = Annotated[
    float | None, Option("Requests/s at the busiest time, to derive `max_replicas`.", metavar="N", group=SCALING)
]
Growth = Annotated[
    float,
    Option(
        "How fast the load may grow, as a share of the base per minute.", metavar="PERCENT", minimum=0, group=SCALING
    ),
]
