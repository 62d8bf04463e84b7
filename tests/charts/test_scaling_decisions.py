"""What the HPA does with real series: the shipped formulas, evaluated by a real Prometheus, then its algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus import Prometheus, load_openmetrics, running_prometheus
from scaling_queries import adapter_queries, keda_queries

from serve_deploy.autoscaling.hpa import Controller, Pod
from serve_deploy.autoscaling.targets import CONCURRENCY, PENDING, ScalingTargets, autoscaler

Render = Callable[..., list[dict[str, Any]]]
PODS = {"a": "demo-triton-6c9f-aaaaa", "b": "demo-triton-6c9f-bbbbb"}
MODELS = ["top", "other"]
TARGETS = ScalingTargets(concurrency=2.0, pending=1.5, min_replicas=2, max_replicas=8)
START = 1_700_000_000
SCRAPE = 15
SAMPLES = 80

Values = Callable[[int], float]
Decide = Callable[..., list[int]]
# series of one scenario: (metric, pod, model) → value at the n-th scrape
Story = dict[tuple[str, str, str], Values]


def served(pod: str, model: str, rate: float, seconds: float) -> Story:
    """A steady load: requests per second that each take so long."""
    return {
        ("nv_inference_request_success", pod, model): lambda n: rate * SCRAPE * n,
        ("nv_inference_request_duration_us", pod, model): lambda n: rate * SCRAPE * n * seconds * 1e6,
    }


def waiting(pod: str, values: Values, model: str = "top") -> Story:
    return {("nv_inference_pending_request_count", pod, model): values}


def restarted(pod: str, at: int) -> Story:
    """Two in flight, with the counters starting over."""
    return {
        ("nv_inference_request_duration_us", pod, "top"): lambda n: 2e6 * SCRAPE * (n if n < at else n - at),
    }


def stalled(pod: str, at: int) -> Story:
    """One in flight until nothing completes any more while requests keep coming."""
    return {
        ("nv_inference_request_duration_us", pod, "top"): lambda n: 1e6 * SCRAPE * min(n, at),
    } | waiting(pod, lambda n: 0.0 if n < at else 60.0)


def stepped(pod: str, at: int) -> Story:
    """Two in flight, then six."""
    return {
        ("nv_inference_request_duration_us", pod, "top"): lambda n: 1e6 * SCRAPE * (2 * n + 4 * max(0, n - at)),
    } | waiting(pod, lambda n: 0.0)


def streamed(pod: str, rate: float, hangs_at: int = SAMPLES) -> Story:
    """So many streams a second by the vLLM backend's metrics, of 0.5 s and 1.5 s more, until no token leaves."""
    return {
        ("nv_inference_request_success", pod, "top"): lambda n: rate * SCRAPE * n,
        ("nv_inference_request_duration_us", pod, "top"): lambda n: 800 * rate * SCRAPE * n,
        ("vllm:time_to_first_token_seconds_count", pod, "top"): lambda n: rate * SCRAPE * min(n, hangs_at),
        ("vllm:time_to_first_token_seconds_sum", pod, "top"): lambda n: 0.5 * rate * SCRAPE * min(n, hangs_at),
        ("vllm:time_per_output_token_seconds_sum", pod, "top"): lambda n: 1.5 * rate * SCRAPE * min(n, hangs_at),
    } | waiting(pod, lambda n: 0.0)


def both(story: Callable[[str], Story]) -> Story:
    return story("a") | story("b")


IDLE = both(lambda pod: waiting(pod, lambda n: 0.0))
STORIES: dict[str, Story] = {
    "low": both(lambda pod: served(pod, "top", 0.2, 2.5)) | IDLE,
    "steady": both(lambda pod: served(pod, "top", 10, 0.2)) | IDLE,
    "tolerated": both(lambda pod: served(pod, "top", 10, 0.219)) | IDLE,
    "hot": both(lambda pod: served(pod, "top", 100, 0.04) | served(pod, "other", 0, 0)) | IDLE,
    "reset": restarted("a", 40) | served("b", "top", 10, 0.2) | IDLE,
    "stall": both(lambda pod: stalled(pod, 40)),
    "ensemble": both(
        lambda pod: served(pod, "top", 100, 0.03) | served(pod, "first", 100, 0.01) | served(pod, "second", 100, 0.02)
    ) | IDLE,
    "members": both(lambda pod: served(pod, "top", 10, 0.1) | waiting(pod, lambda n: 3.0, "second")) | IDLE,
    "streams": both(lambda pod: streamed(pod, 2)),
    "hung": both(lambda pod: streamed(pod, 0.5, 40)),
    "step": both(lambda pod: stepped(pod, 40)),
    "blind": {key: value for key, value in both(lambda pod: served(pod, "top", 10, 0.2)).items() if key[1] == "a"},
}  # fmt: skip


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    lines = [
        f'{metric}{{namespace="{name}",pod="{PODS[pod]}",model="{model}",version="1"}} {value(n)} {START + n * SCRAPE}'
        for name, story in STORIES.items()
        for (metric, pod, model), value in story.items()
        for n in range(SAMPLES)
    ]
    load_openmetrics(folder, "\n".join([*lines, "# EOF", ""]))
    with running_prometheus(folder) as running:
        yield running


def queries(render: Render, namespace: str, *, keda: bool, exporter: str) -> dict[str, str]:
    """The query of each metric as KEDA sends it, or as prometheus-adapter does for the HPA, of one scenario."""
    scaling = {
        "mode": "keda" if keda else "hpa",
        "prometheus": {"serverAddress": "http://p:9090"},
        "metrics": {"decoupled": {"exporter": exporter}},
    }
    objects = render({"models": {"topLevel": MODELS}, "autoscaling": scaling}, namespace=namespace)
    found = keda_queries(objects) if keda else adapter_queries(objects, list(PODS.values()))
    return dict(zip((CONCURRENCY, PENDING), found.values(), strict=True))


@pytest.fixture
def decide(prometheus: Prometheus, render: Render) -> Callable[..., list[int]]:
    """Replicas after each sync, one a scrape, from 2 on; replicas beyond pods a and b are still starting."""

    def run(name: str, *, first: int, syncs: int, keda: bool = False, exporter: str = "") -> list[int]:
        start, end = START + first * SCRAPE, START + (first + syncs - 1) * SCRAPE
        seen = {
            metric: {
                labels.get("pod", ""): dict(pairs) for labels, pairs in prometheus.range(query, start, end, SCRAPE)
            }
            for metric, query in queries(render, name, keda=keda, exporter=exporter).items()
        }
        return _sync(seen, range(start, end + 1, SCRAPE), keda=keda)

    return run


def _sync(seen: dict[str, dict[str, dict[float, float]]], times: range, *, keda: bool) -> list[int]:
    controller, replicas = Controller(autoscaler(TARGETS, 60, keda=keda)), [2]
    for now in times:
        running = [
            Pod(pod, values={metric: pods[pod][now] for metric, pods in seen.items() if now in pods.get(pod, {})})
            for pod in PODS.values()
        ]
        starting = [Pod(f"new-{index}", "Pending") for index in range(replicas[-1] - 2)]
        totals = {metric: pods[""][now] for metric, pods in seen.items() if now in pods.get("", {})}
        replicas.append(controller.sync(now, replicas[-1], running + starting, totals).replicas)
    return replicas[1:]


@pytest.mark.parametrize(
    ("story", "expected", "why"),
    [
        ("low", [2] * 6, "0.5 in flight asks for 1, and the minimum is 2"),
        ("steady", [2] * 6, "2 in flight is the target"),
        ("tolerated", [2] * 6, "2.19 is within 10 % of 2"),
        ("hot", [4] * 6, "4 in flight on each of 2 asks for 4, and the idle model changes nothing"),
        ("ensemble", [3] * 6, "3 in flight on each of 2 asks for 3; with its members counted it would be 6 in flight"),
        ("members", [4] * 6, "1 in flight asks for 1, but 3 waiting for a member ask for 4"),
        ("blind", [2] * 6, "one pod without metrics and no pending series: nothing may change"),
    ],
)
def test_steady_state(decide: Decide, story: str, expected: list[int], why: str) -> None:
    """What a lasting state asks for."""
    assert decide(story, first=30, syncs=6) == expected, why


def test_restart_of_a_pod(decide: Decide) -> None:
    """A counter reset lowers one pod's reading for a minute; the replicas do not move."""
    assert decide("reset", first=38, syncs=10) == [2] * 10


def test_total_stall_scales_up(decide: Decide) -> None:
    """Concurrency falls to 0, but 60 waiting on each ask for the maximum: 4 in the first minute, 8 in the second."""
    replicas = decide("stall", first=36, syncs=14)
    first_rise = replicas.index(4)
    assert replicas[:first_rise] == [2] * first_rise
    assert 4 <= first_rise <= 5
    assert replicas[first_rise:] == [4] * 4 + [8] * (14 - first_rise - 4)


def test_step_in_the_load(decide: Decide) -> None:
    """From 2 to 6 in flight: the minute's mean passes 2.2 with the first scrape, and the policies cap the rest."""
    replicas = decide("step", first=38, syncs=12)
    # The mean reads 2, 2, 2, 3, 4, 5, 6, …: 3 of 2 asks for 3; 4 pods in a minute is the cap; 12 / 2 = 6 at the end.
    assert replicas == [2, 2, 2, 3, 4, 4, 4, 6, 6, 6, 6, 6]


def test_keda_reads_the_total(decide: Decide) -> None:
    """Through KEDA the same series give the same end, without the dampening of pods that still start."""
    assert decide("hot", first=30, syncs=6, keda=True) == [4] * 6
    assert decide("step", first=38, syncs=12, keda=True)[-1] == 6
    assert decide("stall", first=36, syncs=14, keda=True)[-1] == 8


@pytest.mark.parametrize("keda", [False, True])
def test_streams_ask_for_what_they_are(decide: Decide, keda: bool) -> None:
    """4 streams on each of 2 ask for 4; by Triton's counters, 0.002 in flight, for nothing."""
    assert decide("streams", first=30, syncs=6, keda=keda, exporter="vllm-backend") == [4] * 6
    assert decide("streams", first=30, syncs=6, keda=keda) == [2] * 6


@pytest.mark.parametrize("keda", [False, True])
def test_hung_engine_scales_up(decide: Decide, keda: bool) -> None:
    """One stream on each of 2 is below the minimum; 15 that come in 30 s and get no token ask for the maximum."""
    replicas = decide("hung", first=36, syncs=16, keda=keda, exporter="vllm-backend")
    assert replicas[:6] == [2] * 6
    assert replicas[-1] == 8
    assert decide("hung", first=36, syncs=16, keda=keda) == [2] * 16
