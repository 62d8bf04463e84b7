"""What a replay took: replica-hours, money and energy. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve_deploy.autoscaling.replay import Curve, Replay

_STEP_SECONDS = 15.0


def per_million(amount: float | None, produced: float) -> float | None:
    """What a million took of what was produced; None where nothing was, or the amount is not known."""
    return amount / produced * 1e6 if amount is not None and produced else None


def energy_kwh(replay: Replay, curve: Curve, watts: Sequence[tuple[float, float]]) -> float:
    """What the replicas' GPUs drew, from the power that one drew at each rate.

    Below the lightest load that was measured a replica draws what it drew there, and beyond the heaviest as there.
    """
    times = np.arange(0.0, replay.seconds, _STEP_SECONDS)
    lengths = np.diff([*times, replay.seconds])
    changes, counts = zip(*replay.replicas, strict=True)
    running = np.asarray(counts)[np.searchsorted(changes, times, side="right") - 1]
    rates, powers = zip(*watts, strict=True)
    shares = np.array([curve(float(time)) for time in times]) / np.maximum(running, 1)
    return float((running * np.interp(shares, rates, powers) * lengths).sum() / 3.6e6)
