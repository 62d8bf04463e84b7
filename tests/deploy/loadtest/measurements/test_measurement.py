"""Samples into figures: nothing is lost between the workers' blocks and the point."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from synthetic_reports import make_point

from serve_deploy.loadtest.clients.recorder import SUCCEEDED, TIMED_OUT, Kind, Recorder, SampleBlock
from serve_deploy.loadtest.measurements.measurement import Measurement
from serve_deploy.loadtest.measurements.points import client_bound_reasons
from serve_deploy.loadtest.measurements.server_figures import read_gauges, statistics_difference
from serve_deploy.loadtest.workers.messages import PeriodEnd
from serve_deploy.reports.latencies import summarize
from serve_deploy.reports.point import Load

# (intended, slip, service, outcome): seconds after the start.
ROWS = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 1), st.floats(0, 10), st.sampled_from([SUCCEEDED, TIMED_OUT, 2, 3])),
    max_size=60,
)
KINDS = (Kind(2, "reset", "gone"), Kind(3, "http_503", "busy"))


def block(rows: list[tuple[float, float, float, int]], in_flight: int = 0) -> SampleBlock:
    recorder = Recorder()
    for intended, slip, service, code in rows:
        recorder.record(1000 + intended, 1000 + intended + slip, 1000 + intended + slip + service, code)
    return recorder.take(in_flight)


@given(st.lists(ROWS, min_size=1, max_size=5))
def test_blocks_of_many_workers_are_pooled_exactly(blocks: list[list[tuple[float, float, float, int]]]) -> None:
    """However the samples are spread over workers and blocks, histograms, counts and the timeline are the same."""
    spread, pooled = Measurement(1000.0), Measurement(1000.0)
    for worker, rows in enumerate(blocks):
        spread.add(worker, block(rows))
    everything = [row for rows in blocks for row in rows]
    pooled.add(0, block(everything))
    assert spread.response.pairs() == pooled.response.pairs()
    assert spread.service.pairs() == pooled.service.pairs()
    assert spread.sent == pooled.sent == len(everything)
    assert summarize(spread.response).p99_us == summarize(pooled.response).p99_us
    assert sum(b.succeeded for b in spread.timeline.buckets()) == spread.succeeded
    assert sum(b.failed for b in spread.timeline.buckets()) == spread.failed + spread.timed_out
    kinds = dict.fromkeys(range(len(blocks)), KINDS)
    assert sum(kind.count for kind in spread.error_kinds(kinds)) == spread.failed + spread.timed_out
    assert math.isclose(spread.in_flight_seconds, sum(row[2] for row in everything), abs_tol=1e-6)


@given(ROWS)
def test_failures_never_improve_latencies(rows: list[tuple[float, float, float, int]]) -> None:
    """Latencies are those of replies and timeouts; failures stand apart, and all of them together are all."""
    measurement = Measurement(1000.0)
    measurement.add(0, block(rows))
    assert measurement.response.count == measurement.succeeded + measurement.timed_out
    assert measurement.failures.count == measurement.failed
    assert measurement.response.count + measurement.failures.count == len(rows)


def test_requests_never_sent_have_no_service_time() -> None:
    """What was given up before it was sent has a response time, the time it waited, and neither slip nor service."""
    measurement = Measurement(0.0)
    given_up = array("d", [3.0, 2, 1.0, 1_000_000_000])
    measurement.add(0, SampleBlock(b"", 0, never_sent=given_up.tobytes()))
    measurement.add_unfinished((2.0,), now=5.0)
    assert (measurement.never_sent, measurement.unfinished, measurement.sent) == (1_000_000_002, 1, 1)
    assert (measurement.response.count, measurement.response.max_us) == (1_000_000_002, 3e6)
    assert (measurement.service.count, measurement.slip.count) == (0, 0)
    assert measurement.in_flight_seconds == 3.0


def test_a_stall_is_a_gap_in_the_timeline() -> None:
    """Slices without an end are there, empty, with what was in flight."""
    measurement = Measurement(1000.0)
    measurement.add(0, block([(0.01, 0, 0.01, SUCCEEDED), (0.15, 0, 0.5, SUCCEEDED)]))
    buckets = measurement.timeline.buckets()
    assert [bucket.succeeded for bucket in buckets] == [1, 0, 0, 0, 0, 0, 1]
    assert [bucket.in_flight for bucket in buckets] == [0, 1, 1, 1, 1, 1, 0]


def test_long_runs_have_coarser_timelines() -> None:
    """An hour does not make 36,000 slices, and loses no request."""
    measurement = Measurement(0.0)
    ends = np.arange(0, 3600, 0.5)
    rows = np.stack([ends, ends, ends + 0.01, np.zeros_like(ends)], axis=1)
    for part in np.array_split(rows, 50):
        measurement.add(0, SampleBlock(part.tobytes(), 0))
    buckets = measurement.timeline.buckets()
    assert len(buckets) <= 240
    assert sum(bucket.succeeded for bucket in buckets) == len(ends)


def test_generator_names_what_limits_it() -> None:
    """A busy core, a late schedule, missing connections and users that were not in flight are each a reason."""
    open_loop, users = Load(mode="open", request_rate=200), Load(mode="closed", concurrency=8)
    point = make_point(open_loop, response_us=np.full(1000, 9000.0))
    late = point.model_copy(update={"client": point.client.model_copy(update={"slip_p99_us": 2000.0})})
    idle = point.model_copy(update={"load": users, "mean_in_flight": 5.0})
    end = PeriodEnd(
        cpu_seconds=0.3, wall_seconds=1.0, starved_seconds=0.1, kinds=(), unfinished=(), lost=False,
        ran_out_of_connections=False,
    )  # fmt: skip
    assert client_bound_reasons(point, [end]) == ()
    assert client_bound_reasons(idle, [end], users_rest=True) == ()
    for text, measured, seen in [
        ("used 95 % of a core", point, replace(end, cpu_seconds=0.95)),
        ("waited for a core 80 %", point, replace(end, cpu_seconds=0.31, starved_seconds=0.8)),
        ("p99 2.0 ms late; limit 1.0", late, end),
        ("only 5.0 of 8", idle, end),
        ("more connections", point, replace(end, ran_out_of_connections=True)),
    ]:
        (reason,) = client_bound_reasons(measured, [end, seen])
        assert text in reason


def test_statistics_difference_is_a_mean_per_request() -> None:
    """Durations are divided by the requests of the period, over all versions of a model."""

    def document(version: str, count: int, queue_ns: int, executions: int) -> dict[str, object]:
        stage = {"count": count, "ns": queue_ns}
        return {
            "name": "m", "version": version, "inference_count": str(4 * count), "execution_count": executions,
            "inference_stats": {"success": stage, "queue": stage},
        }  # fmt: skip

    before = [document("1", 10, 1000, 10)]
    after = [document("1", 30, 41_000, 20), document("2", 20, 80_000, 10)]
    difference = statistics_difference(before, after)
    assert difference
    assert (difference.requests, difference.inferences, difference.executions) == (40, 160, 20)
    assert difference.queue_us == 3.0
    assert difference.average_batch_size == 8.0
    assert statistics_difference(before, []) is None


def test_statistics_difference_of_each_batch_size() -> None:
    """What grew, as a mean of one execution; the counts are numbers over HTTP and text over gRPC."""

    def document(*batches: tuple[str, int, int]) -> list[dict[str, object]]:
        names = ("compute_input", "compute_infer", "compute_output")
        return [
            {
                "name": "m",
                "batch_stats": [
                    {"batch_size": size, **{name: {"count": str(count), "ns": ns} for name in names}}
                    for size, count, ns in batches
                ],
            }
        ]

    difference = statistics_difference(
        document(("1", 10, 1000), ("4", 3, 700)), document(("1", 10, 1000), ("4", 5, 2700), ("8", 1, 3000))
    )
    assert difference
    found = [(batch.batch_size, batch.executions, batch.compute_us) for batch in difference.batches]
    assert found == [(4, 2, 3.0), (8, 1, 9.0)]


def test_gauges_of_several_gpus() -> None:
    """Memory and power of all GPUs are added up, utilization is averaged; pending requests are the model's own."""
    text = """
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="a"} 0.5
nv_gpu_utilization{gpu_uuid="b"} 0.7
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid="a"} 100
nv_gpu_memory_used_bytes{gpu_uuid="b"} 200
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="m",version="1"} 3
nv_inference_pending_request_count{model="m",version="2"} 1
nv_inference_pending_request_count{model="other",version="1"} 9
# TYPE nv_inference_count counter
nv_inference_count{model="m"} 7
"""
    assert read_gauges(text, "m") == {
        "nv_gpu_utilization": 0.6,
        "nv_gpu_memory_used_bytes": 300,
        "nv_inference_pending_request_count": 4,
    }
