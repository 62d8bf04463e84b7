"""A load test of several models at once, and how one load is shared out among them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from serve_deploy.arrivals.mixing import interleave
from serve_deploy.arrivals.shapes import ClosedLoop, ConstantRate, LoadShape, PoissonRate, Ramp, Replay, SharedLoop
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.options.load_test import LoadTestOptions
from serve_deploy.loadtest.options.loads import Search
from serve_deploy.option import Option

_LOAD = "Load"


def parse_weight(text: str) -> tuple[str, float]:
    """Read `MODEL=X`; UsageError where X is no number above 0."""
    model, _, number = text.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not model or not 0 < weight < float("inf"):
        raise UsageError(f"`weights={text}` is not a weight", hint="write it as MODEL=X, such as resnet=3")
    return model, weight


@dataclass(frozen=True, kw_only=True)
class MixOptions(LoadTestOptions):
    """A load test of one model, or of several at once that share each load's requests by `weights` (1 unless set)."""

    # Each part's own.
    model: str = ""
    models: Annotated[
        tuple[str, ...], Option("Model to send requests to; several are measured at once.", metavar="NAME", group=_LOAD)
    ]
    weights: Annotated[
        tuple[tuple[str, float], ...],
        Option(
            "A model's share of the requests, beside the others' (each 1 unless set): resnet=3.",
            metavar="MODEL=X", group=_LOAD, read=parse_weight,
        ),
    ] = ()  # fmt: skip


def split_load(options: MixOptions) -> tuple[LoadTestOptions, ...]:
    """A load test for each model, which together make the loads that were asked for.

    UsageError where a model is named twice, or a load is too small to share.
    """
    models = options.models
    for name in models:
        if models.count(name) > 1:
            raise UsageError(f"`models={name}` is given twice", hint="give it a larger share with `weights`")
    return share_loads([replace(options, model=name) for name in models], weigh(models, options.weights))


def weigh(models: Sequence[str], given: Sequence[tuple[str, float]]) -> list[float]:
    """Each model's weight: 1 unless it is given; UsageError where one is given of another model."""
    weights = dict(given)
    for name in weights:
        if name not in models:
            raise UsageError(f"`weights={name}=…`: {name} is not one of the models", hint=f"add `models={name}`")
    return [weights.get(name, 1.0) for name in models]


def share_loads(parts: Sequence[LoadTestOptions], weights: Sequence[float]) -> tuple[LoadTestOptions, ...]:
    """The parts, each with its share of the first one's loads: of the requests of all, as many as its weight says.

    UsageError where a load cannot be shared, or is too small.
    """
    if len(parts) == 1:
        return tuple(parts)
    options = parts[0]
    if isinstance(options.loads, Search):
        raise UsageError("`find` searches for the load of one model", hint="name one model, or leave out `find`")
    shares = [weight / sum(weights) for weight in weights]
    shared = [_share(shape, shares, options.seed) for shape in options.loads]
    counts = None if options.requests is None else _share_whole(options.requests, shares)
    return tuple(
        # Equal seeds would send every model's independent arrivals at the same times.
        replace(part, loads=tuple(shapes[index] for shapes in shared), seed=options.seed + index,
                requests=None if counts is None else counts[index])
        for index, part in enumerate(parts)
    )  # fmt: skip


def _share(shape: LoadShape, shares: Sequence[float], seed: int) -> Sequence[LoadShape]:
    match shape:
        case ClosedLoop(concurrency):
            order = interleave(shares)
            return [SharedLoop(concurrency, order, number) for number in range(len(shares))]
        case ConstantRate(rate):
            return [ConstantRate(rate * share) for share in shares]
        case PoissonRate(rate):
            return [PoissonRate(rate * share) for share in shares]
        case Ramp(first, last):
            return [Ramp(first * share, last * share) for share in shares]
        case Replay(offsets, source):
            return _share_arrivals(offsets, source, shares, seed)


def _share_whole(number: int, shares: Sequence[float]) -> list[int]:
    """Whole parts, each at least 1, that add up; the largest remainders are rounded up."""
    if number < len(shares):
        raise UsageError(
            f"{len(shares)} models share the load, and `requests` is {number}",
            hint=f"`requests={len(shares)}` or more gives each of them one",
        )
    spare = number - len(shares)
    parts = [1 + int(spare * share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: -(spare * shares[index] % 1))
    for index in by_remainder[: number - sum(parts)]:
        parts[index] += 1
    return parts


def _share_arrivals(offsets: Sequence[float], source: str, shares: Sequence[float], seed: int) -> list[LoadShape]:
    """Each recorded arrival goes to one model, drawn by the weights; the same seed draws alike."""
    drawn = random.Random(seed).choices(range(len(shares)), shares, k=len(offsets))  # noqa: S311 - shares, no secrets
    parts = [
        tuple(offset for offset, model in zip(offsets, drawn, strict=True) if model == i) for i in range(len(shares))
    ]
    if not all(parts):
        raise UsageError(f"`replay` has {len(offsets)} arrivals, which leaves a model without any", hint="record more")
    return [Replay(part, source) for part in parts]
