"""`serve loadtest --find`: what to search, between which bounds; or the plain run where nothing is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.loadtest.live import Listener
    from serve_deploy.loadtest.options import LoadTestOptions
    from serve_deploy.loadtest.search import SearchOptions
    from serve_deploy.progress import Progress
    from serve_deploy.reports.gates import Gate
    from serve_deploy.reports.report import LoadTestReport

REPEATS = 3
_RATES = "10..1000000"
_CONCURRENCIES = "1..1024"


class Variable(StrEnum):
    """What --find looks for the highest value of."""

    RATE = "rate"
    CONCURRENCY = "concurrency"


Find = Annotated[
    Variable | None,
    typer.Option(
        "--find", help="Search the highest load that holds every --slo; --rate or -c LOW..HIGH bound it.",
        show_default=False,
    ),
]  # fmt: skip


def read_search(
    find: Variable, concurrency: str | None, rate: str | None, excluded: Mapping[str, object]
) -> SearchOptions:
    """The search's bounds, from --rate or --concurrency where they are given; `excluded` options have no meaning."""
    from serve_deploy.loadtest.schedule import parse_concurrencies, parse_rates
    from serve_deploy.loadtest.search import SearchOptions

    for option, given in excluded.items():
        if given is not None:
            raise UsageError(f"--find and {option} exclude each other", hint=f"leave {option} out")
    other = concurrency if find is Variable.RATE else rate
    if other is not None:
        option = "--rate" if find is Variable.RATE else "--concurrency"
        raise UsageError(f"--find {find.value} searches a {find.value}", hint=f"bound it with {option} LOW..HIGH")
    if find is Variable.RATE:
        values: Sequence[float] = parse_rates(rate or _RATES)
    else:
        values = parse_concurrencies(concurrency or _CONCURRENCIES)
    low, high = min(values), max(values)
    if low == high:
        raise UsageError(
            f"--find {find.value} needs room to search", hint=f"give it bounds, such as {low:g}..{10 * low:g}"
        )
    floor = low if rate or concurrency else 1.0
    return SearchOptions(variable=find.value, start=low, floor=floor, limit=high)


def run(
    options: LoadTestOptions,
    search: SearchOptions | None,
    gates: Sequence[Gate],
    *,
    poisson: bool,
    on_snapshot: Listener,
    show: Progress,
) -> LoadTestReport:
    """Search, or measure what was asked for."""
    if search is None:
        from serve_deploy.loadtest import run_loadtest

        return run_loadtest(options, on_snapshot=on_snapshot, progress=show)
    from serve_deploy.loadtest.finding import find_load

    return find_load(options, search, gates, poisson=poisson, on_snapshot=on_snapshot, progress=show)
