"""What the autoscaler reads of token streams: a real Triton, a real Prometheus, and the rendered chart's queries.

Windows are a tenth of the chart's own, and so are scrapes. The truth is what the model wrote down of its streams.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import helm_python
import pytest
from chart_objects import parse
from prometheus import Prometheus, running_prometheus
from scaling_queries import adapter_queries, keda_queries
from token_stream import SentStream, read_streams, write_token_stream

from serve_deploy.triton import TritonServer

CHART = Path(__file__).parents[2] / "charts" / "triton"
POD = "demo-triton-6c9f-abcde"
WINDOW, GUARD_WINDOW, SCRAPE = 6, 3, 0.5
RUNNING = 32
CHAT = """
platform: "ensemble"
input [
  { name: "text_input" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "stream" data_type: TYPE_BOOL dims: [ 1 ] },
  { name: "sampling_parameters" data_type: TYPE_STRING dims: [ 1 ] }
]
output [ { name: "text_output" data_type: TYPE_STRING dims: [ -1 ] } ]
ensemble_scheduling { step [ {
  model_name: "llm" model_version: -1
  input_map [
    { key: "text_input" value: "text_input" },
    { key: "stream" value: "stream" },
    { key: "sampling_parameters" value: "sampling_parameters" }
  ]
  output_map { key: "text_output" value: "text_output" }
} ] }
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model writes down what it sent: a first token after 0.2 s, then one every 0.1 s."""
    log = write_token_stream(
        tmp_path_factory.mktemp("token_stream") / "models", ttft_ms=200, itl_ms=100, max_num_seqs=RUNNING
    )
    (log.parent / "chat" / "1").mkdir(parents=True)
    (log.parent / "chat" / "config.pbtxt").write_text(CHAT)
    return log


@pytest.fixture(scope="module")
def server(triton_server: Callable[..., TritonServer], log: Path) -> TritonServer:
    return triton_server(log.parent)


@pytest.fixture(scope="module")
def prometheus(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    target = server.metrics_url.removeprefix("http://").removesuffix("/metrics")
    job = {
        "job_name": "triton", "scrape_interval": "500ms", "scrape_timeout": "500ms",
        "static_configs": [{"targets": [target], "labels": {"namespace": "models", "pod": POD}}],
    }  # fmt: skip
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), {"scrape_configs": [job]}) as running:
        scraped(running, 0)
        yield running


def queries(exporter: str, model: str = "llm") -> dict[str, str]:
    """Concurrency and pending of the rendered chart, through prometheus-adapter and through KEDA."""
    metrics = {"window": f"{WINDOW}s", "guardWindow": f"{GUARD_WINDOW}s", "decoupled": {"exporter": exporter}}
    found = {}
    with helm_python.Chart.load(CHART) as chart:
        for mode in ("hpa", "keda"):
            scaling = {"mode": mode, "metrics": metrics, "prometheus": {"serverAddress": "http://p:9090"}}
            manifests = chart.render(
                {"models": {"topLevel": [model]}, "autoscaling": scaling}, name="demo", namespace="models"
            )
            objects = [item for path, text in manifests.items() if path.endswith(".yaml") for item in parse(text)]
            pair = keda_queries(objects) if mode == "keda" else adapter_queries(objects, [POD])
            found |= {f"{mode} {name.split('_')[1]}": query for name, query in pair.items()}
    return found


def stream(server: TritonServer, model: str, stop: threading.Event | None = None, **sampling: Any) -> None:
    """Read one answer to its end, or until told to leave."""
    connection = http.client.HTTPConnection(server.http_url.removeprefix("http://"), timeout=120)
    body = {"text_input": "one two", "stream": True, "sampling_parameters": json.dumps(sampling)}
    connection.request("POST", f"/v2/models/{model}/generate_stream", json.dumps(body))
    with connection.getresponse() as reply:
        while reply.readline() and not (stop and stop.is_set()):
            pass
    connection.close()


@contextmanager
def streams(server: TritonServer, log: Path, count: int, model: str = "llm") -> Iterator[None]:
    """So many streams in flight, each of ten tokens and followed by the next; in the end all of them are in the log."""
    stop, before = threading.Event(), len(read_streams(log))
    begun: list[None] = []

    def run(delay: float) -> None:
        stop.wait(delay)
        while not stop.is_set():
            begun.append(None)
            stream(server, model, max_tokens=10)

    # Evenly apart: what counts finished requests would else see them all at once.
    threads = [threading.Thread(target=run, args=(1.1 * index / count,)) for index in range(count)]
    for thread in threads:
        thread.start()
    yield
    stop.set()
    for thread in threads:
        thread.join()
    wait_for_log(log, before + len(begun))


def wait_for_log(log: Path, count: int) -> list[SentStream]:
    """The streams once so many of them have ended, which the model writes down a moment later."""
    while len(sent := read_streams(log)) < count:
        time.sleep(0.05)  # polling a file
    return sent


def scraped(prometheus: Prometheus, seconds: float) -> float:
    """The time of a scrape at least so many seconds from now, once it is there."""
    due = time.time() + seconds
    while True:
        at = [value for _, value in prometheus.instant('timestamp(up{job="triton"})')]
        if at and at[0] >= due:
            return at[0]
        time.sleep(0.1)  # polling Prometheus, which tells us in no other way


def read(prometheus: Prometheus, asked: dict[str, str], at: float) -> dict[str, float]:
    values = {name: prometheus.instant(query, at) for name, query in asked.items()}
    return {name: found[0][1] for name, found in values.items()}


def in_flight(sent: list[SentStream], at: float, seconds: float = WINDOW) -> float:
    """The mean number of streams between their arrival and their last token, over so many seconds before a time."""
    end = at - time.time() + time.monotonic()
    overlaps = (min(each.ended, end) - max(each.received, end - seconds) for each in sent)
    return sum(overlap for overlap in overlaps if overlap > 0) / seconds


@pytest.mark.parametrize("count", [1, 6, 30])
def test_streams_in_flight(server: TritonServer, prometheus: Prometheus, log: Path, count: int) -> None:
    """Through prometheus-adapter and KEDA within 10 % of the truth, and none waits; Triton's own counters see 1 %."""
    with streams(server, log, count):
        at = scraped(prometheus, WINDOW + 2)
    truth = in_flight(read_streams(log), at)
    found, blind = read(prometheus, queries("vllm-backend"), at), read(prometheus, queries(""), at)
    assert truth == pytest.approx(count, rel=0.25)
    assert found["hpa concurrency"] == pytest.approx(truth, rel=0.1)
    assert found["keda concurrency"] == pytest.approx(truth, rel=0.1)
    assert (found["hpa pending"], found["keda pending"]) == (0, 0)
    assert blind["keda concurrency"] < 0.01 * truth
    assert blind["keda pending"] == 0


def test_ensemble_of_a_stream(server: TritonServer, prometheus: Prometheus, log: Path) -> None:
    """Triton counts an ensemble until its last token has left, so its counters are true; the member adds nothing."""
    with streams(server, log, 6, "chat"):
        at = scraped(prometheus, WINDOW + 2)
    truth = in_flight(read_streams(log), at)
    for exporter in ("", "vllm-backend"):
        found = read(prometheus, queries(exporter, "chat"), at)
        assert found["hpa concurrency"] == pytest.approx(truth, rel=0.1)
        assert found["keda concurrency"] == pytest.approx(truth, rel=0.1)


def test_ramp_of_long_streams(server: TritonServer, prometheus: Prometheus, log: Path) -> None:
    """A stream more every half second, none of which ends: seen as they come; of finished requests there are none."""
    stop, threads, before = threading.Event(), list[threading.Thread](), len(read_streams(log))
    scraped(prometheus, WINDOW)
    with ExitStack() as ending:
        ending.callback(lambda: [thread.join() for thread in threads])
        ending.callback(stop.set)
        for _ in range(20):
            threads.append(threading.Thread(target=stream, args=(server, "llm", stop), kwargs={"max_tokens": 600}))
            threads[-1].start()
            at = scraped(prometheus, 0.5)
    truth = in_flight(wait_for_log(log, before + len(threads)), at)
    found = read(prometheus, queries("vllm-backend"), at)
    finished = f'sum(rate(vllm:e2e_request_latency_seconds_sum{{pod="{POD}"}}[{WINDOW}s]))'
    assert truth > 8
    assert found["hpa concurrency"] == pytest.approx(truth, rel=0.1)
    assert found["keda concurrency"] == pytest.approx(truth, rel=0.1)
    assert read(prometheus, {"finished": finished}, at) == {"finished": 0}
    assert found["keda pending"] == 0


def test_stalled_engine(server: TritonServer, prometheus: Prometheus, log: Path) -> None:
    """All that run hang for 8 s: what comes meanwhile raises the guard, until it is served."""
    hang, before = {"max_tokens": 2, "stall_at": 1, "stall_ms": 8000}, len(read_streams(log))
    hung = [threading.Thread(target=stream, args=(server, "llm"), kwargs=hang) for _ in range(RUNNING)]
    for thread in hung:
        thread.start()
    waiting, end = list[threading.Thread](), time.monotonic() + 5
    while time.monotonic() < end:
        at = scraped(prometheus, 0.45)
        waiting.append(threading.Thread(target=stream, args=(server, "llm"), kwargs={"max_tokens": 2}))
        waiting[-1].start()
    for thread in (*hung, *waiting):
        thread.join()
    sent = wait_for_log(log, before + len(hung) + len(waiting))
    served = scraped(prometheus, GUARD_WINDOW + 1)
    end = at - time.time() + time.monotonic()
    arrived = sum(end - GUARD_WINDOW < each.received <= end for each in sent)
    found, after = (read(prometheus, queries("vllm-backend"), moment) for moment in (at, served))
    assert found["hpa pending"] == found["keda pending"] == pytest.approx(arrived, abs=1)
    assert arrived >= 2
    assert (after["hpa pending"], after["keda pending"]) == (0, 0)


def test_targets_of_a_measured_stream(
    serve: Callable[..., subprocess.CompletedProcess[str]], server: TritonServer, log: Path, tmp_path: Path
) -> None:
    """A sweep of streams becomes targets: counted by the client, below the knee under its own objectives."""
    sweep = tmp_path / "sweep.json"
    shutil.copytree(log.parent / "llm", tmp_path / "models" / "llm", ignore=shutil.ignore_patterns("__pycache__"))
    measuring = ("-m", "llm", "--generate", "triton", "--max-tokens", 4, "-c", "1,4", "--duration", 2, "--warmup", 0)
    measured = serve("loadtest", server.http_url, *measuring, "-o", sweep)
    assert measured.returncode == 0, measured.stderr
    written = serve(
        "chart", tmp_path / "models", "-o", tmp_path / "chart", "--dry-run", "--json", "--capacity", sweep,
        "--slo", "ttft_p99<20s", "--slo", "itl_p99<20s",
    )  # fmt: skip
    assert written.returncode == 0, written.stderr
    lines = {each["path"]: each for each in json.loads(written.stdout)["derived"]}
    assert 0 < lines["autoscaling.metrics.concurrency.target"]["value"] < 4
    assert "by the client" in lines["autoscaling.metrics.concurrency.target"]["origin"]
    assert "ttft_p99<20s and itl_p99<20s" in lines["(knee_rate)"]["origin"]
    assert lines["autoscaling.metrics.window"]["value"] == "60s"
    assert "monitoring.prometheusRule.alerts.p99BudgetMs" not in lines
