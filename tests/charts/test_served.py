"""The rendered pod, run here with a real Triton: it serves, `helm test` passes, and admin APIs are closed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
from chart_cases import CHART
from chart_objects import Objects, pod_templates
from chart_pod import POD_UID, run_test_job, running_pod
from chart_semantics import TRITON_METRICS
from ports import free_ports
from web_server import served

from serve_deploy.triton.process import ServerProcess

INFER = CHART / "files" / "scripts" / "infer.sh"
KEY = {"serve-admin-key": POD_UID}
# One request of each group that is closed by default.
ADMIN = {
    "model-repository": ("POST", "/v2/repository/index"),
    "shared-memory": ("GET", "/v2/systemsharedmemory/status"),
    "statistics": ("GET", "/v2/models/stats"),
    "trace": ("GET", "/v2/trace/setting"),
    "logging": ("GET", "/v2/logging"),
}


@dataclass(frozen=True)
class Pod:
    """A running pod: what was rendered, where its ports are, and its process."""

    objects: Objects
    ports: dict[str, int]
    process: ServerProcess

    def url(self, path: str, port: str = "http") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"


@pytest.fixture(scope="module")
def start_pod(
    render: Callable[..., Objects], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[dict[str, Any]], Any]:
    """Render values with free ports, and run the pod."""

    def start(values: dict[str, Any]) -> Iterator[Pod]:
        ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
        objects = render({**values, "server": {**values.get("server", {}), "ports": ports}})
        with running_pod(objects, tmp_path_factory.mktemp("pod")) as process:
            pod = Pod(objects, ports, process)
            result = run_test_job(pod.objects, pod.url(""))
            assert result.returncode == 0, f"{result.stdout}{result.stderr}{process.log_text()}"
            yield pod

    return start


@pytest.fixture(scope="module")
def pod(start_pod: Callable[[dict[str, Any]], Iterator[Pod]]) -> Iterator[Pod]:
    """The chart without any values."""
    yield from start_pod({})


@pytest.fixture(scope="module")
def tuned(start_pod: Callable[[dict[str, Any]], Iterator[Pod]]) -> Iterator[Pod]:
    """Every flag that the chart knows, as far as one server can have them together."""
    yield from start_pod(
        {
            "models": {"load": ["digits"], "topLevel": ["digits", "digits"]},
            "server": {
                "summaryLatencies": True, "responseCache": {"sizeBytes": 1048576}, "logVerbose": 1,
                "grpcMaxConnectionAgeSeconds": 300, "autoComplete": False, "modelConfigName": "l4",
                "exitOnError": False, "backendConfig": ["onnxruntime,default-max-batch-size=8"],
                "extraArgs": ["--log-warning=false"],
            },
        }
    )  # fmt: skip


def ask(url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> tuple[int, str]:
    request = urllib.request.Request(url, method=method, headers=headers or {}, data=body if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_helm_test_sends_an_inference(pod: Pod) -> None:
    """The carried model, mounted as the kubelet mounts it, says which digit the picture shows."""
    result = run_test_job(pod.objects, pod.url(""))
    assert '"digits"' in result.stdout
    assert ":1:one" in result.stdout


def test_probes_ask_what_triton_answers(pod: Pod) -> None:
    """Start-up, liveness and readiness are all 200 on a server that is up."""
    (server,) = [each for each in pod_templates(pod.objects) if each.serves]
    container = server.spec["containers"][0]
    paths = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert paths[2] == "/v2/models/digits/ready"
    assert [ask(pod.url(path))[0] for path in paths] == [200, 200, 200]


@pytest.mark.parametrize("group", ADMIN)
def test_admin_api_is_closed(pod: Pod, group: str) -> None:
    """Without the header a client is refused; with the pod's UID in it the request is answered."""
    method, path = ADMIN[group]
    assert ask(pod.url(path), method)[0] == 403
    assert ask(pod.url(path), method, KEY)[0] == 200


def test_admin_api_is_closed_over_grpc(pod: Pod) -> None:
    """The gRPC protocol has the same lock, under Triton's own prefix."""
    import tritonclient.grpc as grpcclient
    from tritonclient.utils import InferenceServerException

    with grpcclient.InferenceServerClient(f"127.0.0.1:{pod.ports['grpc']}") as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            client.unload_model("digits")
        index = client.get_model_repository_index(
            headers={"triton-grpc-protocol-serve-admin-key": POD_UID}, as_json=True
        )
        assert [model["name"] for model in index["models"]] == ["digits"]


def test_metrics_are_those_that_the_chart_knows(pod: Pod) -> None:
    """Triton exposes what the checks take for Triton's, among it every inference metric that the formulas read."""
    exposed = set(re.findall(r"^(nv_\w+)\{", ask(pod.url("/metrics", "metrics"))[1], re.MULTILINE))
    used = {
        name
        for path in (CHART / "files" / "formulas").glob("*.promql")
        for name in re.findall(r"\bnv_inference_\w+", path.read_text(encoding="utf-8"))
    }
    assert used <= exposed <= TRITON_METRICS


def test_triton_takes_every_flag(tuned: Pod) -> None:
    """Loading by name, latency summaries, response cache and connection age are on in one server."""
    metrics = ask(tuned.url("/metrics", "metrics"))[1]
    assert 'nv_inference_request_summary_us{model="digits"' in metrics
    assert "| model_config_name                | l4" in tuned.process.log_text()
    assert "| cache_enabled                    | 1" in tuned.process.log_text()
    assert POD_UID not in tuned.process.log_text()


@pytest.fixture
def collector() -> Iterator[tuple[str, Queue[bytes]]]:
    """A collector of OTLP over HTTP: its address, and what it was sent."""
    received: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.put(self.path.encode() + b"\n" + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", received


def test_traces_reach_the_collector(
    start_pod: Callable[[dict[str, Any]], Iterator[Pod]], collector: tuple[str, Queue[bytes]]
) -> None:
    """A request that brings a trace context is traced under it, however rare the others are, and names the pod."""
    url, received = collector
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    request = json.loads((CHART / "files" / "example-request.json").read_text(encoding="utf-8"))
    for pod in start_pod({"tracing": {"url": url, "oneIn": 1_000_000}}):
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01", "Content-Type": "application/json"}
        assert ask(pod.url("/v2/models/digits/infer"), "POST", headers, request["body"].encode())[0] == 200
        path, _, body = received.get(timeout=300).partition(b"\n")
        (sent,) = json.loads(body)["resourceSpans"]
        resource = {each["key"]: each["value"].get("stringValue") for each in sent["resource"]["attributes"]}
        spans = [span for scope in sent["scopeSpans"] for span in scope["spans"]]
        assert path == b"/v1/traces"
        assert {span["traceId"] for span in spans} == {trace_id}
        assert {"InferRequest", "digits", "compute"} <= {span["name"] for span in spans}
        names = [resource[f"service.{name}"] for name in ("name", "namespace", "instance.id")]
        assert names == ["demo-triton", "models", POD_UID]


def test_round_robin_reaches_every_replica(pod: Pod, tuned: Pod) -> None:
    """The channel arguments that the README shows spread one client's requests evenly."""
    import tritonclient.grpc as grpcclient

    readme = (CHART / "README.md").read_text(encoding="utf-8")
    arguments = ast.literal_eval(re.search(r"channel_args=(\[.*?\n *\])", readme, re.DOTALL)[1])  # type: ignore[index]
    target = "ipv4:" + ",".join(f"127.0.0.1:{each.ports['grpc']}" for each in (pod, tuned))
    before = [count_answers(each) for each in (pod, tuned)]
    with grpcclient.InferenceServerClient(target, channel_args=arguments) as client:
        client.is_server_ready()
        image = grpcclient.InferInput("image", [1, 1, 8, 8], "FP32")
        image.set_data_from_numpy(np.zeros((1, 1, 8, 8), np.float32))
        for _ in range(20):
            client.infer("digits", [image])
    answered = [count_answers(each) - count for each, count in zip((pod, tuned), before, strict=True)]
    assert sum(answered) == 20
    assert min(answered) >= 5


def count_answers(pod: Pod) -> int:
    """Inferences of the example model that this pod answered."""
    metrics = ask(pod.url("/metrics", "metrics"))[1]
    return sum(
        int(n) for n in re.findall(r'^nv_inference_request_success\{model="digits".*\} (\d+)', metrics, re.MULTILINE)
    )


def test_readiness_of_several_models_asks_each(tuned: Pod) -> None:
    """The probe's command succeeds where all are ready, and fails where one is unknown."""
    (server,) = [each for each in pod_templates(tuned.objects) if each.serves]
    command = server.spec["containers"][0]["readinessProbe"]["exec"]["command"]
    assert subprocess.run(command, timeout=300).returncode == 0
    unknown = [*command[:-1], command[-1].replace("digits", "unknown"), command[-1]]
    assert subprocess.run(unknown, timeout=300).returncode != 0


@pytest.mark.parametrize(
    ("model", "body", "expect", "message"),
    [
        ("digits", "", "", ""),
        ("unknown", "", "", "unknown is not ready"),
        ("digits", "{}", "", "digits refused"),
        ("digits", "example", ":2:two", "expected :2:two"),
    ],
)
def test_infer_script_tells_a_wrong_answer(pod: Pod, model: str, body: str, expect: str, message: str) -> None:
    """It fails with what was wrong: no such model, a refused request, another answer than expected."""
    if body == "example":
        body = json.loads((CHART / "files" / "example-request.json").read_text(encoding="utf-8"))["body"]
    result = subprocess.run(
        ["sh", "-eu", INFER, pod.url(""), "30", model, body, expect], capture_output=True, text=True, timeout=300
    )
    assert (result.returncode == 0) == (not message)
    assert message in result.stderr


def test_infer_script_gives_up(tmp_path: Path) -> None:
    """Nobody listens: it says so when its time is over."""
    (port,) = free_ports(1)
    result = subprocess.run(
        ["sh", "-eu", INFER, f"http://127.0.0.1:{port}", "0"], capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 1
    assert "not ready within 0 s" in result.stderr
