"""What the recorded commands read: models, repositories and load-test reports, made without any code of serve."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from batching_models import parse_graph
from fake_cluster import running_api, write_kubeconfig
from onnx import TensorProto, helper
from onnx_models import add_to_repository, build_model, doubling_model
from recorded_objects import LOADING, deployment, pod, release_routes

Document = dict[str, Any]
CONFIG = """max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: 3 }
output { name: "y" data_type: TYPE_FP32 dims: 3 }
"""
GRAPHS = {
    "centred": "(float[N,4] x) => (float[N,4] y) { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) }",
    "free": "(float[N,seq] x) => (float[N,seq] y) { y = Abs(x) }",
    "sums": "(int64[N,2] a, int64[N,2] b) => (int64[N,2] sum, int64[N,2] difference) "
    "{ sum = Add(a, b) difference = Sub(a, b) }",
    "dice": "(float[N,4] x) => (float[N,4] y) { y = RandomNormalLike(x) }",
    "text": "(string[N,2] x) => (string[N,2] y) { y = Identity(x) }",
    "half": "(float16[N,4] x) => (float16[N,4] y) { y = Softmax<axis=1>(x) }",
    "unknown": "(float[N,4] x) => (float[N,4] y) { y = NoSuchOperator(x) }",
    "no-input": "() => (float[2] y) { y = Constant<value_floats=[1.0,2.0]>() }",
}


def write_models(folder: Path) -> None:
    """Write models that are fine, models that serve refuses, and files that are no model."""
    for name, graph in GRAPHS.items():
        onnx.save(parse_graph(graph), folder / f"{name}.onnx")
    onnx.save(doubling_model(), folder / "doubling.onnx")
    onnx.save(doubling_model((1, 3)), folder / "fixed.onnx")
    onnx.save(_opset(doubling_model(), 27), folder / "newest.onnx")
    onnx.save(_sequence_model(cuttable=True), folder / "sequence.onnx")
    onnx.save(_sequence_model(cuttable=False), folder / "erased.onnx")
    content = (folder / "doubling.onnx").read_bytes()
    (folder / "truncated.onnx").write_bytes(content[:60])
    (folder / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "empty.onnx").touch()
    (folder / "folder.onnx").mkdir()
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    np.savez(folder / "other.npz", other=np.zeros((1, 3), np.float32))
    (folder / "arrivals.txt").write_text("".join(f"{second}\n" for second in (0, 0.05, 0.1, 0.12, 0.2)))


def _opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    model.opset_import[0].version = version
    return model


def _sequence_model(*, cuttable: bool) -> onnx.ModelProto:
    """A model whose output is a sequence of tensors: one that --fix can cut off, or not."""
    nodes = [helper.make_node("SequenceConstruct", ["x", "x"], ["pieces"])]
    if not cuttable:
        nodes.append(helper.make_node("SequenceErase", ["pieces"], ["rest"]))
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 3])
    output = helper.make_value_info(nodes[-1].output[0], helper.make_sequence_type_proto(tensor))
    model = build_model(nodes, [("x", TensorProto.FLOAT, ("N", 3))], [])
    model.graph.output.append(output)
    return model


def write_broken_repository(folder: Path) -> None:
    """Write a repository of one good model and several with one mistake each."""
    add_to_repository(folder, "well", doubling_model(), CONFIG)
    add_to_repository(folder, "fixed_batch", doubling_model((1, 3)), CONFIG)
    add_to_repository(folder, "wrong_name", doubling_model(), CONFIG.replace('"x"', '"input"'))
    add_to_repository(folder, "syntax", doubling_model(), "input {")
    add_to_repository(folder, "new_opset", _opset(doubling_model(), 27), CONFIG)
    truncated = add_to_repository(folder, "truncated", doubling_model(), CONFIG) / "1" / "model.onnx"
    truncated.write_bytes(truncated.read_bytes()[:40])
    shutil.rmtree(add_to_repository(folder, "no_version", doubling_model(), CONFIG) / "1")


def _latency(samples_us: np.ndarray) -> Document:
    samples_us = np.round(samples_us, 1)
    bounds, counts = np.unique((1.01 ** np.floor(np.log(samples_us) / np.log(1.01))).astype(int), return_counts=True)
    shares = {"p50_us": 0.5, "p90_us": 0.9, "p95_us": 0.95, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    values = {name: float(np.quantile(samples_us, share, method="inverted_cdf")) for name, share in shares.items()}
    histogram = np.column_stack([bounds, counts]).tolist()
    mean, lowest = round(float(samples_us.mean()), 2), float(samples_us.min())
    return {"count": samples_us.size, "mean_us": mean, "min_us": lowest, **values, "histogram": histogram}


def _point(
    load: Document, service_us: np.ndarray, *, stall: bool = False, failed: int = 0, repeat: int = 0
) -> Document:
    """Five seconds at one load; a server that stalls adds half a second to the response time of a tenth."""
    count, seconds = service_us.size, 5.0
    response_us = service_us + (np.linspace(5e5, 0, count).clip(4.5e5) - 4.5e5) * 10 * stall
    rate = count / seconds
    errors = [{"kind": "http_503", "count": failed, "example": "503: the queue is full"}] if failed else []
    server = {
        "model": "digits", "requests": count, "inferences": count, "executions": count // 2, "failures": failed,
        "queue_us": 300.0, "compute_input_us": 40.0, "compute_infer_us": round(float(service_us.mean()) / 2, 1),
        "compute_output_us": 25.0, "average_batch_size": 2.0,
    }  # fmt: skip
    timeline = [
        {"start_seconds": start, "duration_seconds": 0.5, "succeeded": count // 10, "failed": failed // 10,
         "in_flight": 2, "response_p50_us": float(part[0].round(1)), "response_p99_us": float(part.max().round(1)),
         "response_max_us": float(part.max().round(1))}
        for start, part in zip(np.arange(0, 5, 0.5).tolist(), np.array_split(response_us, 10), strict=True)
    ]  # fmt: skip
    return {
        "load": load, "repeat": repeat, "started_at": "2026-11-23T03:00:00+00:00", "duration_seconds": seconds,
        "sent": count + failed, "succeeded": count, "failed": failed, "timed_out": 0, "in_flight_at_end": 0,
        "request_rate": rate, "throughput": rate, "mean_in_flight": round(float(service_us.mean()) * rate / 1e6, 3),
        "response": _latency(response_us), "service": _latency(service_us), "errors": errors,
        "failures": _latency(np.full(failed, 900.0)) if failed else None,
        "client": {"cpu_fraction": 0.12, "cpu_us_per_request": 18.0, "slip_p50_us": 3.0, "slip_p99_us": 410.0,
                   "slip_max_us": 1900.0},
        "server": [server], "timeline": timeline,
    }  # fmt: skip


def make_sweep(slower: float = 1.0) -> list[Document]:
    """A closed-loop sweep, each load three times, on a server that tops out near 400 inferences/s."""
    random = np.random.default_rng(3)
    points = []
    for concurrency in (1, 2, 4, 8):
        for repeat in range(3):
            mean_us = slower * concurrency / min(195.0 * concurrency, 400.0) * 1e6 * random.normal(1, 0.01)
            samples = mean_us * random.lognormal(-0.02, 0.2, int(concurrency / mean_us * 5e6))
            points.append(_point({"mode": "closed", "concurrency": concurrency}, samples, repeat=repeat))
    return points


def write_reports(folder: Path, target: Document) -> None:
    """Write load-test reports whose numbers are known; `target` is the endpoint that they say was measured."""
    random = np.random.default_rng(7)
    load = {"mode": "open", "request_rate": 200.0, "distribution": "constant"}
    service = 5000 + random.gamma(2.0, 150.0, 1000)
    reports = {
        "sweep": make_sweep(), "slower": make_sweep(1.4), "stalled": [_point(load, service, stall=True)],
        "failing": [_point(load, service, failed=20)], "part-a": [_point(load, service)],
        "part-b": [_point(load, service * 1.1)],
        "slow": [_point(load | {"request_rate": 20.0}, service[:100] * 200)],
    }  # fmt: skip
    for name, points in reports.items():
        kind = "sweep" if len(points) > 1 else "single"
        report = {"format_version": 1, "tool_version": "0.0.1", "kind": kind, "target": target, "complete": True}
        (folder / f"{name}.json").write_text(json.dumps(report | {"points": points}))
    (folder / "newer.json").write_text((folder / "stalled.json").read_text().replace('version": 1', 'version": 99', 1))
    (folder / "odd.json").write_text('{"format_version": 1, "points": 3}')
    (folder / "no-text.json").write_bytes(b"\xff\xfe\x00")


@contextmanager
def running_clusters(folder: Path) -> Iterator[None]:
    """Stand-ins for a Kubernetes API; folder/NAME/kubeconfig leads to each."""
    deployments = "/apis/apps/v1/namespaces/models/deployments"
    waiting = release_routes([pod("demo-1"), pod("demo-2", ready=False)], workload=deployment(available=1))
    waiting["/api/v1/namespaces/models/pods/demo-2/log"] = LOADING
    clusters = {
        "healthy": release_routes([pod("demo-1"), pod("demo-2")]), "waiting": waiting,
        "pending": release_routes([pod("demo-1", ready=False, phase="Pending", scheduled="0/3 nodes: no GPU")]),
        "stranger": {deployments: (401, "Unauthorized")}, "forbidden": {deployments: (403, "pods is forbidden")},
        "failing": {deployments: (500, "etcd is gone")}, "empty": {},
    }  # fmt: skip
    with ExitStack() as servers:
        for name, routes in clusters.items():
            (folder / name).mkdir()
            write_kubeconfig(folder / name, servers.enter_context(running_api(routes)))
        (folder / "gone").mkdir()
        write_kubeconfig(folder / "gone", "http://127.0.0.1:9")
        (folder / "broken").mkdir()
        (folder / "broken" / "kubeconfig").write_text("bad: [")
        yield
