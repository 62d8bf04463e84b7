"""Load shapes as they stand in a report, and in words. Pure."""

from __future__ import annotations

from serve_deploy.loadtest.schedule import ClosedLoop, ConstantRate, LoadShape, PoissonRate, Ramp, Replay
from serve_deploy.reports.point import Load


def describe_load(shape: LoadShape, batch_size: int) -> Load:
    """The load as it stands in the report."""
    match shape:
        case ClosedLoop(concurrency):
            return Load(mode="closed", concurrency=concurrency, batch_size=batch_size)
        case ConstantRate(rate):
            return Load(mode="open", request_rate=rate, distribution="constant", batch_size=batch_size)
        case PoissonRate(rate):
            return Load(mode="open", request_rate=rate, distribution="poisson", batch_size=batch_size)
        case Ramp(first, last):
            mean = (first + last) / 2
            return Load(
                mode="open",
                request_rate=mean,
                distribution="ramp",
                batch_size=batch_size,
                ramp_from=first,
                ramp_to=last,
            )
        case Replay(offsets, source):
            mean = (len(offsets) - 1) / offsets[-1] if offsets[-1] else float(len(offsets))
            return Load(mode="open", request_rate=mean, distribution="replay", batch_size=batch_size, replay_of=source)


def load_in_words(shape: LoadShape) -> str:
    """The load for a person."""
    match shape:
        case ClosedLoop(concurrency):
            return f"concurrency {concurrency}"
        case ConstantRate(rate):
            return f"{rate:g} requests/s"
        case PoissonRate(rate):
            return f"{rate:g} requests/s (Poisson)"
        case Ramp(first, last):
            return f"{first:g} to {last:g} requests/s"
        case Replay(_, source):
            return f"the arrivals of {source}"
