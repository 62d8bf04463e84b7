"""The metrics of a running and of a finished load test, as Prometheus reads them."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from prometheus import tool
from prometheus_client import CollectorRegistry, generate_latest
from synthetic_reports import make_report, make_stalled_point
from synthetic_streams import make_token_report

from serve_deploy.errors import UsageError
from serve_deploy.loadtest.live import LiveSnapshot
from serve_deploy.loadtest.live_metrics import LiveMetrics, collect_report, parse_address
from serve_deploy.reports.gates import evaluate_gates, parse_gate
from serve_deploy.reports.point import Load

SNAPSHOT = LiveSnapshot(
    load=Load(mode="open", request_rate=200.0), repeat=0, phase="measuring", elapsed_seconds=1.0, planned_seconds=10.0,
    request_rate=199.0, response_p99_us=8000.0, sent=210, succeeded=200, failed=3, timed_out=1,
    never_sent=0, in_flight=6,
)  # fmt: skip


def count(metrics: LiveMetrics, outcome: str) -> float | None:
    """The requests counted so far."""
    labels = {"model": "digits", "phase": "measuring", "outcome": outcome}
    return metrics.registry.get_sample_value("serve_loadtest_requests_total", labels)


def test_counters_go_on_through_repeats() -> None:
    """The engine counts each period anew; the counters that Prometheus scrapes never fall."""
    metrics = LiveMetrics("digits")
    metrics.listen(replace(SNAPSHOT, succeeded=120))
    metrics.listen(SNAPSHOT)
    metrics.listen(replace(SNAPSHOT, repeat=1, succeeded=50, failed=0))
    assert (count(metrics, "succeeded"), count(metrics, "failed"), count(metrics, "timed_out")) == (250, 3, 2)
    assert metrics.registry.get_sample_value("serve_loadtest_in_flight", {"model": "digits"}) == 6
    assert metrics.registry.get_sample_value("serve_loadtest_response_p99_seconds", {"model": "digits"}) == 0.008


def test_a_finished_run_says_its_figures_by_load() -> None:
    """What is pushed are the report's own figures, in base units, with one series a gate."""
    point = make_stalled_point()
    report = make_report(point, gates=evaluate_gates([parse_gate("p99<50ms")], [point]))
    read = collect_report(report).get_sample_value
    assert read("serve_loadtest_response_seconds", {"load": "200/s", "percentile": "99"}) == point.response.p99_us / 1e6
    assert read("serve_loadtest_throughput", {"load": "200/s"}) == 200
    assert read("serve_loadtest_gate_passed", {"load": "200/s", "gate": "p99<50ms"}) == 0
    assert read("serve_loadtest_complete") == 1


def test_a_finished_run_of_streams_says_its_token_figures() -> None:
    """Beside those of every load test; which have no token figures."""
    report = make_token_report()
    generation = report.points[0].generation
    assert generation is not None
    read = collect_report(report).get_sample_value
    load = {"load": "concurrency 64"}
    assert read("serve_loadtest_inter_token_max_seconds", load) == pytest.approx(0.4)
    first = read("serve_loadtest_time_to_first_token_seconds", {**load, "percentile": "99"})
    assert first == generation.time_to_first_token.p99_us / 1e6
    assert read("serve_loadtest_output_token_rate", load) == generation.output_tokens_per_second
    assert read("serve_loadtest_goodput_ratio", load) == pytest.approx(830 / 832)
    assert b"token" not in generate_latest(collect_report(make_report(make_stalled_point())))


@pytest.mark.parametrize("kind", ["live", "finished", "tokens"])
def test_promtool_has_nothing_to_say(kind: str) -> None:
    """Names, units and labels are what Prometheus' own linter wants."""
    metrics = LiveMetrics("digits")
    metrics.listen(SNAPSHOT)
    point = make_stalled_point()
    judged = make_report(point, gates=evaluate_gates([parse_gate("p99<50ms")], [point]))
    finished = collect_report(make_token_report() if kind == "tokens" else judged)
    registry: CollectorRegistry = metrics.registry if kind == "live" else finished
    linted = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("address", "means"),
    [("9095", ("127.0.0.1", 9095)), ("0.0.0.0:9095", ("0.0.0.0", 9095)), ("[::1]:9095", ("::1", 9095))],
)
def test_a_port_is_of_this_machine_alone_unless_a_host_is_named(address: str, means: tuple[str, int]) -> None:
    """Nothing is opened to the network that was not asked for."""
    assert parse_address(address) == means


@pytest.mark.parametrize("address", ["", "port", "127.0.0.1:", "70000", "-1"])
def test_what_is_no_port_is_refused(address: str) -> None:
    """The message shows how to write it."""
    with pytest.raises(UsageError, match="not a port"):
        parse_address(address)
