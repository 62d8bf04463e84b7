"""The loads that a test asks of a server: closed and open loops, sweeps, recorded arrivals, the search for the most."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from serve_deploy.arrivals.shapes import ClosedLoop, ConstantRate, LoadShape, PoissonRate, Ramp, Replay, SharedLoop
from serve_deploy.errors import UsageError
from serve_deploy.option import Option

if TYPE_CHECKING:
    from serve_deploy.reports.point import Load

Variable = Literal["rate", "concurrency"]
_LOAD = "Load"
_MOST_LOADS = 1000
_SEARCHED: dict[Variable, str] = {"rate": "10..1000000", "concurrency": "1..1024"}
_RECORDING = "one arrival a line: seconds (1.25), or a time such as 2026-01-31T12:00:00.5; or a JSON list of them"


@dataclass(frozen=True, kw_only=True)
class Search:
    """Find the highest load that meets every gate, between `floor` and `limit`, from `start` on.

    It ends when the gap is below `precision` of the load, or after `budget` measurements.
    """

    variable: Variable
    start: float
    limit: float
    floor: float = 1.0
    precision: float = 0.05
    budget: int = 24
    poisson: bool = False

    def shape(self, load: float) -> LoadShape:
        """The load shape of one value that is tried."""
        if self.variable == "concurrency":
            return ClosedLoop(int(load))
        return PoissonRate(load) if self.poisson else ConstantRate(load)


Loads = tuple[LoadShape, ...] | Search


def parse_loads(
    *,
    concurrency: Annotated[
        str | None,
        Option(
            "Closed loop, requests at a time: 8, 1,4,16, 1..64 (doubling) or 10..50:10.",
            metavar="N",
            group=_LOAD,
            joined=True,
        ),
    ] = None,
    rate: Annotated[
        str | None,
        Option(
            "Open loop, requests/s: 200, 100,500, 100..1000 (ten steps) or 100..1000:50.",
            metavar="N",
            group=_LOAD,
            joined=True,
        ),
    ] = None,
    poisson: Annotated[bool, Option("Make the arrivals of `rate` independent of each other.", group=_LOAD)] = False,
    ramp: Annotated[
        str | None, Option("Open loop whose rate grows over the duration.", metavar="FROM..TO", group=_LOAD)
    ] = None,
    replay: Annotated[
        Path | None, Option("Open loop that replays recorded arrival times.", metavar="FILE", group=_LOAD)
    ] = None,
    find: Annotated[
        Variable | None,
        Option(
            "Search for the highest load that passes every `slo`; set bounds with `rate` or `concurrency` LOW..HIGH.",
            group=_LOAD,
        ),
    ] = None,
) -> Loads:
    """The loads to measure, or the search for the highest; one closed-loop user where nothing is given."""
    texts = {"concurrency": concurrency, "rate": rate, "ramp": ramp, "replay": replay}
    given = [name for name, text in texts.items() if text is not None]
    if find:
        return _parse_search(find, texts[find], given, poisson)
    if len(given) > 1:
        raise UsageError(f"{' and '.join(f'`{name}`' for name in given)} exclude each other")
    if poisson and not rate:
        raise UsageError("`poisson` needs `rate`")
    if replay:
        return (read_arrivals(replay),)
    if ramp:
        return (_parse_ramp(ramp),)
    if rate:
        return tuple((PoissonRate if poisson else ConstantRate)(value) for value in _parse_sweep("rate", rate))
    return tuple(ClosedLoop(int(value)) for value in _parse_sweep("concurrency", concurrency or "1"))


def _parse_search(variable: Variable, bounds: str | Path | None, given: Sequence[str], poisson: bool) -> Search:
    for name in given:
        if name in ("ramp", "replay"):
            raise UsageError(f"`find` and `{name}` exclude each other", hint=f"leave out `{name}`")
        if name != variable:
            raise UsageError(
                f"`find={variable}` searches for a {variable}, not a {name}",
                hint=f"set its bounds with `{variable}=LOW..HIGH`",
            )
    values = _parse_sweep(variable, str(bounds or _SEARCHED[variable]))
    low, high = min(values), max(values)
    if low == high:
        raise UsageError(
            f"`find={variable}` needs room to search",
            hint=f"set its bounds, such as `{variable}={low:g}..{10 * low:g}`",
        )
    return Search(variable=variable, start=low, limit=high, floor=low if bounds else 1.0, poisson=poisson)


# --- sweeps --------------------------------------------------------------------------------------------------------


def _parse_sweep(variable: Variable, text: str) -> tuple[float, ...]:
    """Read `8`, `1,4,16`, `10..50:10` (even steps) or `1..64` (concurrencies double, rates take ten even steps)."""
    name = f"`{variable}={text}`"
    if ".." not in text:
        values = tuple(_number(part, name) for part in text.split(","))
    else:
        span, _, step = text.partition(":")
        first, last = (_number(part, name) for part in span.split("..", 1))
        if last < first:
            raise UsageError(f"{name}: the sweep ends below its start")
        steps: Callable[[float, float], tuple[float, ...]] = _doubling if variable == "concurrency" else _ten_steps
        width = _number(step, name) if step else 0.0
        if step and (last - first) / width > _MOST_LOADS:
            raise UsageError(f"{name}: that is more than {_MOST_LOADS} loads", hint="take longer steps")
        values = _even_steps(first, last, width) if step else steps(first, last)
    if variable == "concurrency" and any(value != int(value) for value in values):
        raise UsageError(f"{name}: a concurrency is a whole number")
    return values


def _parse_ramp(text: str) -> Ramp:
    first, separator, last = text.partition("..")
    if not separator:
        raise UsageError(f"`ramp={text}` is not a ramp", hint="write it as FROM..TO, such as 100..1000")
    return Ramp(_number(first, f"`ramp={text}`", least=0), _number(last, f"`ramp={text}`"))


def _number(text: str, name: str, *, least: float = math.ulp(0)) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{name}: '{text}' is not a number") from None
    if not math.isfinite(value):
        raise UsageError(f"{name}: '{text}' is not a finite number")
    if value < least:
        raise UsageError(f"{name}: {text} is not above 0")
    return value


def _even_steps(first: float, last: float, step: float) -> tuple[float, ...]:
    values = [first + index * step for index in range(int((last - first) / step + 1e-9) + 1)]
    return tuple(values if math.isclose(values[-1], last) else [*values, last])


def _doubling(first: float, last: float) -> tuple[float, ...]:
    values = [first]
    while values[-1] * 2 < last:
        values.append(values[-1] * 2)
    return tuple(values if values[-1] == last else [*values, last])


def _ten_steps(first: float, last: float) -> tuple[float, ...]:
    return (first,) if first == last else tuple(round(first + (last - first) * index / 9, 6) for index in range(10))


# --- recorded arrivals ---------------------------------------------------------------------------------------------


def read_arrivals(path: Path) -> Replay:
    """Arrivals from a file, in any order; the first one is the start. UsageError names the line that is not a time."""
    try:
        text = path.read_text(encoding="utf-8")
        items = json.loads(text) if text.lstrip().startswith("[") else _lines(text)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"`replay={path}` cannot be read: {getattr(error, 'strerror', None) or error}", hint=_RECORDING
        ) from error
    times = sorted(_read_time(path, str(item)) for item in items)
    if not times:
        raise UsageError(f"`replay={path}` has no arrivals", hint=_RECORDING)
    return Replay(tuple(time - times[0] for time in times), path.name)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _read_time(path: Path, item: str) -> float:
    readers: tuple[Callable[[str], float], ...] = (float, lambda text: datetime.fromisoformat(text).timestamp())
    for read in readers:
        try:
            value = read(item)
        except ValueError:
            continue
        if math.isfinite(value):
            return value
    raise UsageError(f"`replay={path}`: '{item[:60]}' is not a time", hint=_RECORDING)


# --- in the report -------------------------------------------------------------------------------------------------


def describe_load(shape: LoadShape, batch_size: int = 1) -> Load:
    """The load as it stands in the report; of a ramp and of a replay with the mean rate."""
    from serve_deploy.reports.point import Load

    what: dict[str, Any]
    match shape:
        case ClosedLoop(concurrency):
            models = len(set(shape.order)) if isinstance(shape, SharedLoop) else None
            return Load(mode="closed", concurrency=concurrency, shared_by=models, batch_size=batch_size)
        case ConstantRate(rate):
            what = {"distribution": "constant", "request_rate": rate}
        case PoissonRate(rate):
            what = {"distribution": "poisson", "request_rate": rate}
        case Ramp(first, last):
            what = {"distribution": "ramp", "request_rate": (first + last) / 2, "ramp_from": first, "ramp_to": last}
        case Replay(offsets, source):
            mean = (len(offsets) - 1) / offsets[-1] if offsets[-1] else float(len(offsets))
            what = {"distribution": "replay", "request_rate": mean, "replay_of": source}
    return Load(mode="open", batch_size=batch_size, **what)
