"""What a server says of its models, put together without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serve_deploy.endpoint.model import ModelState
from serve_deploy.live_models.memory import find_owner
from serve_deploy.live_models.models import find_above, read_metrics
from serve_deploy.live_models.served import ServedModels, describe_versions, list_changes, with_rates

READY = ModelState("digits", "1", "READY", "")
STATISTICS = {
    "name": "digits", "version": "1", "last_inference": 1700000000000, "inference_count": 40, "execution_count": 10,
    "inference_stats": {
        "success": {"count": 20, "ns": 1}, "fail": {"count": 2, "ns": 1}, "queue": {"count": 20, "ns": 40_000},
        "compute_input": {"count": 20, "ns": 20_000}, "compute_infer": {"count": 20, "ns": 160_000},
        "compute_output": {"count": 20, "ns": 20_000},
    },
    "memory_usage": [{"type": "GPU", "id": 0, "byte_size": "100"}, {"type": "CPU", "id": 0, "byte_size": "20"}],
}  # fmt: skip


def look(*states: ModelState, requests: int = 20) -> ServedModels:
    statistics = {**STATISTICS, "inference_stats": {**STATISTICS["inference_stats"], "success": {"count": requests}}}
    return ServedModels("http://host:8000", "2.51.0", describe_versions(states, [statistics], {}, {}))


def test_figures_are_means_over_requests() -> None:
    """Counts as Triton keeps them, times for each request in µs, the mean batch over executions."""
    (version,) = describe_versions([READY], [STATISTICS], {}, {("digits", "1"): 0.5})
    assert (version.requests, version.failures, version.inferences, version.executions) == (20, 2, 40, 10)
    assert (version.average_batch_size, version.queue_us, version.compute_us) == (4.0, 2.0, 10.0)
    assert (version.load_seconds, version.last_inference_ms) == (0.5, 1700000000000)


def test_memory_that_was_measured_goes_before_what_the_backend_reports() -> None:
    """Without a process of its own, a model's memory is what its backend reports."""
    (reported,) = describe_versions([READY], [STATISTICS], {}, {})
    (measured,) = describe_versions([READY], [STATISTICS], {("digits", "1"): 7}, {})
    assert (reported.memory_bytes, measured.memory_bytes) == (120, 7)


def test_version_that_does_not_serve_has_no_figures() -> None:
    """What Triton still counts of it is not shown."""
    (version,) = describe_versions([replace(READY, state="UNAVAILABLE", reason="unloaded")], [STATISTICS], {}, {})
    assert (version.requests, version.memory_bytes) == (0, None)


def test_rate_is_what_came_since() -> None:
    """Ten requests in two seconds are five a second."""
    (version,) = with_rates(look(READY, requests=30), look(READY), 2.0).versions
    assert version.request_rate == 5.0


def test_version_loaded_again_has_no_rate_yet() -> None:
    """Its counters began anew."""
    (version,) = with_rates(look(READY, requests=3), look(READY), 2.0).versions
    assert version.request_rate is None


def test_changes_are_told_once() -> None:
    """A new state, its reason, a version that appears and one that goes; nothing where nothing changed."""
    before, now = look(READY), look(replace(READY, state="UNAVAILABLE", reason="unloaded"), replace(READY, version="2"))
    assert list(list_changes(before, now)) == ["digits version 1: UNAVAILABLE (unloaded)", "digits version 2: READY"]
    assert list(list_changes(now, before)) == ["digits version 1: READY", "digits version 2: gone"]
    assert list(list_changes(now, now)) == []


def test_server_that_goes_and_comes_back_is_told() -> None:
    """One line each."""
    gone = ServedModels("http://host:8000", "", (), is_reachable=False, problem="refused")
    assert list(list_changes(look(READY), gone)) == ["http://host:8000 does not answer: refused"]
    assert list(list_changes(gone, gone)) == []
    assert next(iter(list_changes(gone, look(READY)))) == "http://host:8000 answers again"


@pytest.mark.parametrize(
    ("words", "owner"),
    [
        (["/b/triton_python_backend_stub", "/models/digits/1/model.py", "region"], ("digits", "1")),
        (["/b/triton_python_backend_stub", "/b/onnxruntime/model.py", "region", "my_model_0_1"], ("my_model", "3")),
        (["/b/triton_python_backend_stub", "/b/onnxruntime/model.py", "region", "two_0_1"], None),
        (["/bin/tritonserver", "/models/digits/1/model.py"], None),
        ([], None),
    ],
)
def test_owner_of_a_process(words: list[str], owner: tuple[str, str] | None) -> None:
    """By the model's file, else by the instance's name where the model serves one version; else it is not known."""
    versions = {("digits", "1"), ("my_model", "3"), ("two", "1"), ("two", "2")}
    assert find_owner(words, versions) == owner


def test_ensembles_above_are_found_through_others() -> None:
    """An ensemble of an ensemble runs the model as well."""
    members: dict[str, set[str]] = {"a": set(), "e": {"a"}, "f": {"e"}, "other": {"b"}}
    assert find_above("a", members) == ("e", "f")


def test_metrics_that_do_not_answer_are_said_in_words() -> None:
    """The system's reason, without urllib's wrapping."""
    url = "http://127.0.0.1:1/metrics"
    assert read_metrics(url) == ({}, (f"{url} cannot be read: Connection refused",))
