"""The dashboard with data: a real Triton under load, scraped by a real Prometheus; every panel shows something.

The rendered page and its picture are left in the directory that SERVE_DASHBOARD_DIR names, to be looked at.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import helm_python
import pytest
import yaml
from dashboard_page import Panel, fill_legend, page_rows, render_page
from prometheus import Prometheus, running_prometheus
from repositories import add_ensemble, add_model
from web_server import served

from serve_deploy.triton import ServerOptions, TritonServer, start_server

CHART = Path(__file__).parents[2] / "charts" / "triton"
VARIABLES = {"$namespace": "models", "$pod": ".+", "$model": ".+", "$__rate_interval": "5s"}
# What kube-state-metrics says of an autoscaler; it needs a cluster.
AUTOSCALER = "".join(
    f'kube_horizontalpodautoscaler_{name}{{namespace="models",horizontalpodautoscaler="demo-triton"}} {value}\n'
    for name, value in (("status_current_replicas", 2), ("status_desired_replicas", 3), ("spec_max_replicas", 8))
)
EXCUSED = {
    "GPU": "there is no GPU here",
    "GPU memory": "there is no GPU here",
    "GPU power": "there is no GPU here",
    "Model load time": "Triton 2.51 (24.10) does not export it yet",
}
SCRAPES = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("models")
    add_model(repository, config="instance_group { count: 1 } dynamic_batching { }")
    add_ensemble(repository, "pipeline", "digits")
    arguments = ("--metrics-config=summary_latencies=true", "--metrics-interval-ms=500")
    with start_server(ServerOptions(repository=repository, extra_arguments=arguments)) as running:
        yield running


@pytest.fixture(scope="module")
def kube_state() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(AUTOSCALER.encode())

        def log_message(self, *_arguments: object) -> None:
            return

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as exporter:
        yield f"127.0.0.1:{exporter.server_port}"


@pytest.fixture(scope="module")
def prometheus(server: TritonServer, kube_state: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scraping once a second, after so many scrapes under load."""
    target = server.metrics_url.removeprefix("http://").removesuffix("/metrics")
    labels = {"namespace": "models", "pod": "demo-triton-0"}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "triton", "static_configs": [{"targets": [target], "labels": labels}]},
            {"job_name": "kube-state", "honor_labels": True, "static_configs": [{"targets": [kube_state]}]},
        ],
    }
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), config) as running:
        body = sample_body()
        with ThreadPoolExecutor(6) as pool:
            while _scrapes(running) < SCRAPES:
                list(pool.map(lambda model: infer(server, model, body), ["digits", "pipeline"] * 60))
        yield running


def sample_body() -> str:
    values = [float(value % 17) for value in range(64)]
    return json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": values}]})


def infer(server: TritonServer, model: str, body: str) -> None:
    url = f"{server.http_url}/v2/models/{model}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, body.encode()), timeout=120) as reply:
        assert reply.status == 200


def _scrapes(prometheus: Prometheus) -> float:
    counted = prometheus.instant('min(count_over_time(nv_inference_request_success{model="pipeline"}[1m]))')
    return counted[0][1] if counted else 0


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    with helm_python.Chart.load(CHART) as chart:
        manifests = chart.render({"monitoring": {"dashboard": {"enabled": True}}}, name="demo", namespace="models")
    (config,) = (yaml.safe_load(text) for path, text in manifests.items() if path.endswith("/dashboard.yaml"))
    (text,) = config["data"].values()
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.fixture(scope="module")
def panels(shown: dict[str, Any], prometheus: Prometheus) -> list[Panel]:
    (now,) = (value for _, value in prometheus.instant("vector(time())"))
    return [_fill(panel, prometheus, now) for panel in shown["panels"] if panel["type"] != "row"]


def _fill(panel: dict[str, Any], prometheus: Prometheus, now: float) -> Panel:
    lines = []
    for target in panel["targets"]:
        query = target["expr"]
        for name, value in VARIABLES.items():
            query = query.replace(name, value)
        for labels, points in prometheus.range(query, now - SCRAPES, now, 1):
            lines.append((fill_legend(target["legendFormat"], labels, panel["title"]), points))
    unit = panel["fieldConfig"]["defaults"]["unit"]
    return Panel(panel["title"], panel["type"], unit, panel["gridPos"], lines, EXCUSED.get(panel["title"], ""))


def test_no_panel_is_empty(panels: list[Panel]) -> None:
    """Each query of each panel returns numbers, but for what this machine cannot have, by name and reason."""
    empty = {panel.title for panel in panels if not panel.lines}
    assert empty == EXCUSED.keys()
    values = [value for panel in panels for _, points in panel.lines for _, value in points]
    assert all(math.isfinite(value) for value in values)


def test_panels_show_the_load(panels: list[Panel]) -> None:
    """Requests are served, batches formed, time spent; and the ensemble waits through its member only."""
    last = {panel.title: {name: points[-1][1] for name, points in panel.lines} for panel in panels}
    assert last["Requests/s"]["Requests/s"] > 1
    assert last["In flight"]["In flight"] > 0
    assert last["Models"]["Models"] == 2
    assert last["Batch size"]["digits demo-triton-0"] >= 1
    assert last["Failing"]["Failing"] == 0
    assert {"digits demo-triton-0", "pipeline demo-triton-0"} <= last["p99 in Triton"].keys()


def test_picture_of_the_dashboard(panels: list[Panel], shown: dict[str, Any], tmp_path: Path) -> None:
    """The panels are drawn, and a browser makes a picture of them."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    folder = Path(os.environ.get("SERVE_DASHBOARD_DIR", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page, picture = folder / "dashboard.html", folder / "dashboard.png"
    page.write_text(render_page(shown["title"], panels, page_rows(shown)))
    subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1360,1500",
         f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}", page.as_uri()],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert page.read_text().count("<polyline") > 20
