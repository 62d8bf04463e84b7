"""The search for the highest load that holds, on a simulated server whose limit is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from synthetic_reports import make_point
from synthetic_streams import Streams, make_token_point

from serve_deploy.loadtest import Search
from serve_deploy.loadtest.search import CutShort, search_load
from serve_deploy.reports.gates import parse_gate
from serve_deploy.reports.point import Load, Point
from serve_deploy.reports.report import SearchResult

SERVICE_US = 5000.0


def simulate_rate(rate: float, random: np.random.Generator, seconds: float = 20.0) -> Point:
    """One M/D/1 measurement: Poisson arrivals at one server that takes exactly 5 ms (200/s at most)."""
    starts = np.cumsum(random.exponential(1 / rate, int(rate * seconds)))
    ends = np.empty_like(starts)
    free = 0.0
    for index, start in enumerate(starts.tolist()):
        free = max(free, start) + SERVICE_US / 1e6
        ends[index] = free
    return make_point(
        Load(mode="open", request_rate=rate, distribution="poisson"),
        response_us=(ends - starts) * 1e6,
        service_us=np.full(starts.size, SERVICE_US),
        duration_seconds=max(seconds, float(ends[-1])),
    )


def simulate_concurrency(concurrency: float) -> Point:
    """A closed loop on a server of 5 ms and 4 instances: no wait up to 4 users, then each waits for its turn."""
    rate = min(concurrency, 4) / (SERVICE_US / 1e6)
    response = np.full(int(rate * 5), concurrency / rate * 1e6)
    return make_point(Load(mode="closed", concurrency=int(concurrency)), response_us=response, duration_seconds=5.0)


def search_rate(gate: str, *, seed: int = 0, repeats: int = 3, **options: float) -> tuple[SearchResult, list[float]]:
    """Search the simulated server's rate from 10/s up, and return the loads measured as well."""
    random = np.random.default_rng(seed)

    def measure(rate: float) -> list[Point]:
        return [simulate_rate(rate, random) for _ in range(repeats)]

    asked = Search(variable="rate", **{"start": 10.0, "limit": 5000.0, **options})  # type: ignore[arg-type]
    result, points = search_load(measure, [parse_gate(gate)], asked)
    return result, [point.load.request_rate or 0 for point in points]


@pytest.mark.parametrize("seed", range(4))
def test_the_rate_that_holds_a_mean_is_found(seed: int) -> None:
    """M/D/1 at utilisation u waits u / (2 (1 − u)) service times: a mean of 10 ms holds up to u = 2/3, 133/s."""
    result, _ = search_rate("mean<10ms", seed=seed)
    assert result.stopped_by == "precision"
    assert result.highest == pytest.approx(133, rel=0.1)
    assert result.lowest_missed is not None
    assert result.lowest_missed <= result.highest * 1.06


def test_the_winner_was_measured_twice() -> None:
    """The highest load that held is confirmed by a second round of repeats."""
    result, loads = search_rate("mean<10ms")
    assert loads.count(result.highest) == 6
    assert "meets mean<10ms" in result.explanation


def test_a_rate_that_the_server_cannot_keep_up_does_not_hold() -> None:
    """A gate that says nothing of latency is still bound by what the server can do."""
    result, _ = search_rate("errors<1%")
    assert result.highest == pytest.approx(200, rel=0.1)


def test_nothing_holds() -> None:
    """A threshold below the service time is held by no rate, and the search ends at its floor."""
    result, loads = search_rate("p50<1ms")
    assert (result.highest, result.stopped_by) == (None, "floor")
    assert min(loads) == 1
    assert "not even 1/s" in result.explanation.replace("1.000", "1")


def test_everything_holds_up_to_the_limit() -> None:
    """Where the limit of the search holds, it is said that the true one may be higher."""
    result, loads = search_rate("p99<1s", limit=100.0)
    assert (result.highest, result.lowest_missed, result.stopped_by) == (100, None, "limit")
    assert max(loads) == 100
    assert "may be higher" in result.explanation


def test_a_start_above_the_limit_of_the_server_searches_downwards() -> None:
    """A first load that misses is halved until one holds."""
    result, _ = search_rate("mean<10ms", start=1000.0)
    assert result.highest == pytest.approx(133, rel=0.1)


def test_the_budget_ends_the_search_with_what_is_known() -> None:
    """No more loads are measured than allowed, and the gap that is left is told."""
    result, loads = search_rate("mean<10ms", budget=5, repeats=1)
    assert result.stopped_by == "budget"
    assert len(loads) == 5
    assert result.highest == 80
    assert "before the gap was closed" in result.explanation


def test_a_generator_at_its_limit_is_not_the_servers_limit() -> None:
    """A client-bound load ends the search upwards, and the answer says whose limit it is."""

    def measure(rate: float) -> list[Point]:
        return [make_point(Load(mode="open", request_rate=rate), response_us=np.full(int(rate * 10), 5000.0),
                           duration_seconds=10 if rate <= 100 else 12,
                           client_bound=rate > 100, client_bound_reasons=("its CPU was 97 % busy",))]  # fmt: skip

    result, points = search_load(measure, [parse_gate("p99<50ms")], Search(variable="rate", start=10, limit=10_000))
    assert result.stopped_by == "client"
    assert result.highest is not None
    assert 95 <= result.highest <= 100
    assert "generator was the limit" in result.explanation
    assert any(point.client_bound for point in points)


@pytest.mark.parametrize(("gate", "highest"), [("p99<6ms", 4), ("p99<26ms", 20), ("p99<5.5ms", 4)])
def test_the_exact_concurrency_is_found(gate: str, highest: int) -> None:
    """Concurrencies are whole: of 4 instances, 4 users wait for nobody, and 20 of them for 25 ms."""
    asked = Search(variable="concurrency", start=1, limit=256, precision=0.01)
    result, points = search_load(lambda users: [simulate_concurrency(users)], [parse_gate(gate)], asked)
    assert (result.highest, result.lowest_missed) == (highest, highest + 1)
    assert all(point.load.concurrency == round(point.load.concurrency or 0) for point in points)


def test_a_winner_that_misses_when_measured_again_is_not_the_answer() -> None:
    """One lucky measurement near the limit does not stand."""
    lucky = {128.0}

    def measure(users: float) -> list[Point]:
        held = users <= 50 or users in lucky
        lucky.discard(users)
        response = np.full(1000, 1000.0 if held else 90_000.0)
        return [make_point(Load(mode="closed", concurrency=int(users)), response_us=response)]

    asked = Search(variable="concurrency", start=1, limit=128, precision=0.01, budget=40)
    result, _ = search_load(measure, [parse_gate("p99<50ms")], asked)
    assert result.highest == 50


def test_an_interrupted_search_keeps_what_it_has() -> None:
    """When measuring ends early the highest load so far is reported with all points."""
    calls = iter(range(4))

    def stop_after(measure: Callable[[float], list[Point]]) -> Callable[[float], list[Point]]:
        def limited(load: float) -> list[Point]:
            if next(calls, None) is None:
                raise CutShort
            return measure(load)

        return limited

    asked = Search(variable="concurrency", start=1, limit=256)
    measure = stop_after(lambda users: [simulate_concurrency(users)])
    result, points = search_load(measure, [parse_gate("p99<1s")], asked)
    assert (result.highest, result.stopped_by, len(points)) == (8, "interrupted", 4)


def test_a_search_that_judged_nothing_claims_nothing() -> None:
    """Interrupted in its first measurement, it does not say that no load meets the gate."""

    def interrupt(_load: float) -> list[Point]:
        raise CutShort

    result, points = search_load(interrupt, [parse_gate("p99<1s")], Search(variable="rate", start=1, limit=256))
    assert (result.highest, result.judged_points, points) == (None, 0, ())
    assert result.explanation == (
        "No rate is known to meet p99<1s; the run ended before the search did. No load was measured to the end."
    )


def simulate_streams(concurrency: float, random: np.random.Generator) -> Point:
    """A server that gives each stream a token every 10 ms up to 20 streams, and beyond that shares what it can do."""
    gaps = 0.01 * max(1.0, concurrency / 20) * random.lognormal(0, 0.05, (int(concurrency) * 4, 30))
    first = 0.02 * max(1.0, concurrency / 20) * random.lognormal(0, 0.2, len(gaps))
    streams = Streams(np.linspace(0, 1, len(gaps)), first, gaps)
    return make_token_point(streams, Load(mode="closed", concurrency=int(concurrency)), objectives=("ttft<40ms",))


@pytest.mark.parametrize(
    ("gate", "highest"),
    [("itl_p99<20ms", 20 * 2 / 1.123), ("output_tokens>100", 200.0), ("goodput>95%", 20 * 2 / np.exp(1.645 * 0.2))],
)
def test_the_concurrency_that_holds_a_gate_on_streams_is_found(gate: str, highest: float) -> None:
    """By the gap between tokens, by the share of good requests, or up to the limit where tokens a second only grow."""
    random = np.random.default_rng(1)
    asked = Search(variable="concurrency", start=10, limit=200)
    result, _ = search_load(lambda load: [simulate_streams(load, random)], [parse_gate(gate)], asked)
    assert result.highest == pytest.approx(highest, rel=0.1)
    assert gate in result.explanation


def test_the_rate_that_holds_the_time_to_first_token_is_found() -> None:
    """First tokens that wait for one server as whole answers do: a mean of 10 ms holds up to 133/s."""
    random = np.random.default_rng(2)

    def measure(rate: float) -> list[Point]:
        point = simulate_rate(rate, random)
        first = np.repeat(
            [bound / 1e6 for bound, _ in point.response.histogram], [count for _, count in point.response.histogram]
        )
        streams = Streams(np.linspace(0, 20, first.size), first, np.full((first.size, 3), 0.001))
        return [make_token_point(streams, point.load, duration_seconds=point.duration_seconds)]

    asked = Search(variable="rate", start=10, limit=5000)
    result, _ = search_load(measure, [parse_gate("ttft_mean<10ms")], asked)
    assert result.highest == pytest.approx(133, rel=0.1)
