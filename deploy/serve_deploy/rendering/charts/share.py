"""Where a request's time goes: the server's queue and compute, and what is left for network and client."""

from __future__ import annotations

from collections.abc import Sequence

from serve_deploy.rendering.charts.frame import BOTTOM, RIGHT, TOP, Chart, Plot, draw_chart
from serve_deploy.rendering.charts.svg import Drawing, Scale
from serve_deploy.reports.figures import format_load, format_number, format_share, format_tick_us, format_time_us
from serve_deploy.reports.point import ModelStatistics, Point

PARTS = (
    ("queue", "waiting in the queue"), ("input", "input"), ("infer", "inference"), ("output", "output"),
    ("rest", "network, client and server front end"),
)  # fmt: skip
_ROW, _BAR = 44.0, 20.0


def split_service_time(point: Point) -> dict[str, float]:
    """The mean service time in µs by where it was spent; composing models count as often as they are called.

    Triton adds the compute times of its composing models to an ensemble's own, but not their queue times.
    """
    if not point.server:
        return dict.fromkeys(("queue", "input", "infer", "output"), 0.0) | {"rest": point.service.mean_us}
    target = point.server[0]
    queued_us = sum(account.queue_us * account.requests for account in point.server)
    parts = {
        "queue": queued_us / max(1, target.requests),
        "input": target.compute_input_us,
        "infer": target.compute_infer_us,
        "output": target.compute_output_us,
    }
    return {**parts, "rest": max(0.0, point.service.mean_us - sum(parts.values()))}


def draw_share(points: Sequence[Point], identifier: str) -> Chart | None:
    """A bar a load; None where the server gave no statistics."""
    known = [point for point in points if point.server and point.service.count]
    if not known:
        return None
    shares = [split_service_time(point) for point in known]
    names = [format_load(point.load) for point in known]
    height = TOP + _ROW * len(known) + BOTTOM

    def draw(width: float) -> Drawing:
        drawing = Drawing(width, height)
        longest = max(sum(share.values()) for share in shares)
        plot = Plot(drawing, Scale(0, longest * 1.02, 14, width - RIGHT), Scale(0, 1, height - BOTTOM, TOP))
        for index, (name, share) in enumerate(zip(names, shares, strict=True)):
            _draw_bar(plot, TOP + index * _ROW, name, share)
        plot.draw_x_axis(format_tick_us, "mean service time of a request")
        return drawing

    return draw_chart(
        draw,
        identifier=identifier,
        title="Where the time goes",
        lead=_describe(known, shares),
        legend=PARTS,
        columns=("load", *(label for _, label in PARTS), "service time"),
        rows=tuple(
            (name, *(format_time_us(share[part]) for part, _ in PARTS), format_time_us(point.service.mean_us))
            for name, share, point in zip(names, shares, known, strict=True)
        ),
    )


def model_rows(point: Point) -> list[tuple[str, ...]]:
    """The server's account of each model, for the table of an ensemble or a single model."""
    return [_account_row(account) for account in point.server]


MODEL_COLUMNS = (
    "model",
    "requests",
    "executions",
    "average batch",
    "queue",
    "input",
    "inference",
    "output",
    "failures",
)


def _account_row(account: ModelStatistics) -> tuple[str, ...]:
    times = (account.queue_us, account.compute_input_us, account.compute_infer_us, account.compute_output_us)
    return (
        account.model,
        f"{account.requests:,}",
        f"{account.executions:,}",
        format_number(account.average_batch_size),
        *(format_time_us(time_us) for time_us in times),
        f"{account.failures:,}",
    )


def _draw_bar(plot: Plot, top: float, name: str, share: dict[str, float]) -> None:
    plot.drawing.text((plot.x.start, top + 12), f"{name}: {format_time_us(sum(share.values()))}", "bar-name")
    at = 0.0
    for part, label in PARTS:
        left, right = plot.x(at), plot.x(at + share[part])
        if right - left > 0.2:
            hint = f"{label}: {format_time_us(share[part])}"
            plot.drawing.rectangle((left, top + 18), (max(0.5, right - left - 1), _BAR), f"fill {part}", hint)
        at += share[part]


def _describe(points: Sequence[Point], shares: Sequence[dict[str, float]]) -> str:
    share, point = shares[-1], points[-1]
    longest = max(PARTS, key=lambda part: share[part[0]])
    fraction = share[longest[0]] / (sum(share.values()) or 1)
    return (
        f"At {format_load(point.load)}, the largest part of a request's time is {longest[1]} "
        f"({format_share(fraction)})."
    )
