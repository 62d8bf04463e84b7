"""What a test cluster may lack: nodes that run pods, and a served metric that Prometheus can scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from web_server import served

Api = Any
PERIOD_SECONDS = 0.5
# An API server may be slow or restart for a moment.
FAILURES_IN_A_ROW = 20


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextmanager
def _repeating(step: Callable[[], None]) -> Iterator[None]:
    """Do something again and again beside the test, until its end; what it raises again and again ends the test."""
    stopped = threading.Event()
    failures: list[BaseException] = []

    def loop() -> None:
        while len(failures) < FAILURES_IN_A_ROW and not stopped.wait(PERIOD_SECONDS):
            try:
                step()
                failures.clear()
            except Exception as error:  # noqa: BLE001 - handed to the test
                failures.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
    if len(failures) == FAILURES_IN_A_ROW:
        raise failures[0]


@contextmanager
def standing_in_for_kubelet(core: Api, namespace: str) -> Iterator[None]:
    """Where no node runs pods, mark every pod of the namespace as running and ready, as a kubelet would."""
    from kubernetes.client import ApiException

    def step() -> None:
        for pod in core.list_namespaced_pod(namespace).items:
            if pod.status.phase == "Running" or pod.metadata.deletion_timestamp:
                continue
            try:
                core.patch_namespaced_pod_status(pod.metadata.name, namespace, {"status": running_status(pod)})
            except ApiException as error:
                if error.status not in (404, 409):
                    raise

    with _repeating(step):
        yield


def running_status(pod: Any) -> dict[str, Any]:
    """The status of a pod whose containers all run and are ready."""
    conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "startTime": now(),
        "podIP": "192.0.2.1",
        "podIPs": [{"ip": "192.0.2.1"}],
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now()} for kind in conditions],
        "containerStatuses": [
            {
                "name": container.name, "image": container.image, "imageID": "stand-in",
                "containerID": "stand-in://1", "ready": True, "started": True, "restartCount": 0,
                "state": {"running": {"startedAt": now()}}, "lastState": {},
            }
            for container in pod.spec.containers
        ],
    }  # fmt: skip


class ServedLoad:
    """A load of so many requests in flight in all, spread evenly over a release's pods.

    Triton's counters tell it, and so do the metrics of its vLLM backend and of vLLM's own server.
    """

    def __init__(self, core: Api, namespace: str, selector: str) -> None:
        self._core, self._namespace, self._selector = core, namespace, selector
        self._lock = threading.Lock()
        self._busy_us: dict[str, float] = {}
        self._seen = time.monotonic()
        self.in_flight = 0.0

    def advance(self) -> None:
        """Let time pass: each pod's counter grows by its share."""
        pods = self._core.list_namespaced_pod(self._namespace, label_selector=self._selector).items
        names = [
            pod.metadata.name for pod in pods if pod.status.phase == "Running" and not pod.metadata.deletion_timestamp
        ]
        with self._lock:
            passed, self._seen = time.monotonic() - self._seen, time.monotonic()
            share = self.in_flight / len(names) * passed * 1e6 if names else 0.0
            self._busy_us = {name: self._busy_us.get(name, 0.0) + share for name in names}

    def metrics(self) -> str:
        """Prometheus' text, with the labels that a scrape of the pods would add."""
        with self._lock:
            pods = sorted(self._busy_us.items())
        lines = ["# TYPE nv_inference_request_duration_us counter"]
        lines += [f"nv_inference_request_duration_us{self._labels(pod)} {busy:.0f}" for pod, busy in pods]
        lines.append("# TYPE nv_inference_pending_request_count gauge")
        lines += [f"nv_inference_pending_request_count{self._labels(pod)} 0" for pod, _ in pods]
        lines += [
            line for pod, busy in pods for line in self._stream_lines(pod, busy / 1e6, self.in_flight / len(pods))
        ]
        return "\n".join(lines) + "\n"

    def _stream_lines(self, pod: str, seconds: float, running: float) -> Iterator[str]:
        """Requests of a second, of which a quarter passes before the first token."""
        labels = self._labels(pod)
        yield f"nv_inference_request_success{labels} {seconds:.0f}"
        yield f"vllm:time_to_first_token_seconds_count{labels} {seconds:.0f}"
        yield f"vllm:time_to_first_token_seconds_sum{labels} {seconds / 4:.3f}"
        yield f"vllm:time_per_output_token_seconds_sum{labels} {seconds * 3 / 4:.3f}"
        own = labels.replace('model="digits",version="1"', 'model_name="org/digits"')
        yield f"vllm:num_requests_running{own} {running}"
        yield f"vllm:num_requests_waiting{own} 0"

    def _labels(self, pod: str) -> str:
        return f'{{namespace="{self._namespace}",pod="{pod}",model="digits",version="1"}}'


@contextmanager
def exporting(load: ServedLoad, port: int) -> Iterator[None]:
    """Serve the load's metrics on a port of this machine that Prometheus was told to scrape."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = load.metrics().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with served(ThreadingHTTPServer(("127.0.0.1", port), Handler)), _repeating(load.advance):
        yield


def eventually(
    describe: Callable[[], Any],
    wanted: Callable[[Any], bool],
    *,
    seconds: float,
    what: str,
    explain: Callable[[], str] = str,
) -> Any:
    """Look until it is as wanted; AssertionError with what it was last, and why as far as `explain` knows then."""
    deadline = time.monotonic() + seconds
    while True:
        seen = describe()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, f"{what}: after {seconds:.0f} s still {seen}; {explain()}"
        time.sleep(PERIOD_SECONDS)  # a cluster tells of a change in no other way that is worth its code here
