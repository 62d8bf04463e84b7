"""What a server says of its models, put together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve_deploy.endpoint.model import ModelState

Document = dict[str, Any]


@dataclass(frozen=True)
class ServedVersion:
    """One version of a model; all its figures are since it was loaded, and 0 where it is not.

    `queue_us` and `compute_us` are means over the requests. `request_rate` and `inference_rate` are per second since
    the look before, None in the first. `memory_bytes` is what is known: of the processes that run it, where Triton runs
    on this machine and gives it processes of its own, else what its backend reports; None where nothing is.
    """

    model: str
    version: str
    state: str
    reason: str
    requests: int = 0
    failures: int = 0
    inferences: int = 0
    executions: int = 0
    average_batch_size: float = 0.0
    queue_us: float = 0.0
    compute_us: float = 0.0
    last_inference_ms: int | None = None
    request_rate: float | None = None
    inference_rate: float | None = None
    memory_bytes: int | None = None
    load_seconds: float | None = None


@dataclass(frozen=True)
class ServedModels:
    """Every version of every model that a server knows, and its memory.

    `is_reachable` is False in a look, of several, at which the server did not answer; `problem` then says why.
    `server_memory_bytes` is of all processes of a server on this machine, `gpu_memory_bytes` of all GPUs it uses.
    """

    url: str
    server_version: str
    versions: tuple[ServedVersion, ...]
    is_reachable: bool = True
    problem: str | None = None
    server_memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    done: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def describe_versions(
    states: Sequence[ModelState],
    statistics: Sequence[Document],
    memory: Mapping[tuple[str, str], int],
    load_seconds: Mapping[tuple[str, str], float],
) -> tuple[ServedVersion, ...]:
    """A line for each version of the repository index, with what is known of it."""
    known = {(str(each["name"]), str(each["version"])): each for each in statistics}
    return tuple(_describe(state, known, memory, load_seconds) for state in states)


def _describe(
    state: ModelState,
    statistics: Mapping[tuple[str, str], Document],
    memory: Mapping[tuple[str, str], int],
    load_seconds: Mapping[tuple[str, str], float],
) -> ServedVersion:
    key = (state.name, state.version)
    version = ServedVersion(state.name, state.version, state.state, state.reason)
    figures = statistics.get(key)
    if figures is None or state.state != "READY":
        return version
    stages: Document = figures.get("inference_stats", {})
    requests = _number(stages, "success", "count")
    inferences, executions = int(figures.get("inference_count", 0)), int(figures.get("execution_count", 0))
    compute_ns = sum(_number(stages, f"compute_{stage}", "ns") for stage in ("input", "infer", "output"))
    return replace(
        version,
        requests=requests,
        failures=_number(stages, "fail", "count"),
        inferences=inferences,
        executions=executions,
        average_batch_size=inferences / executions if executions else 0.0,
        queue_us=_number(stages, "queue", "ns") / max(_number(stages, "queue", "count"), 1) / 1e3,
        compute_us=compute_ns / max(_number(stages, "compute_infer", "count"), 1) / 1e3,
        last_inference_ms=int(figures.get("last_inference") or 0) or None,
        memory_bytes=memory.get(key, _reported_memory(figures)),
        load_seconds=load_seconds.get(key),
    )


def _number(stages: Document, stage: str, what: str) -> int:
    return int(stages.get(stage, {}).get(what, 0))


def _reported_memory(figures: Document) -> int | None:
    """What the backend says that the model takes, over all kinds of memory; most do not say."""
    uses = figures.get("memory_usage") or ()
    return sum(int(use.get("byte_size", 0)) for use in uses) or None


def with_rates(now: ServedModels, before: ServedModels | None, seconds: float) -> ServedModels:
    """The look with what has come since the one before; a version that was loaded again in between starts anew."""
    if before is None or not before.is_reachable or seconds <= 0:
        return now
    known = {(each.model, each.version): each for each in before.versions if each.state == "READY"}
    return replace(now, versions=tuple(_with_rate(each, known, seconds) for each in now.versions))


def _with_rate(version: ServedVersion, known: Mapping[tuple[str, str], ServedVersion], seconds: float) -> ServedVersion:
    was = known.get((version.model, version.version))
    if was is None or version.state != "READY" or version.requests < was.requests:
        return version
    return replace(
        version,
        request_rate=(version.requests - was.requests) / seconds,
        inference_rate=(version.inferences - was.inferences) / seconds,
    )


def list_changes(before: ServedModels | None, now: ServedModels) -> Iterator[str]:
    """What changed between two looks, a line each: the server itself, and the states of versions."""
    if before is not None and before.is_reachable and not now.is_reachable:
        yield f"{now.url} does not answer: {now.problem}"
    if before is not None and not before.is_reachable and now.is_reachable:
        yield f"{now.url} answers again"
    if not now.is_reachable:
        return
    was = {} if before is None else {(each.model, each.version): each for each in before.versions}
    for each in now.versions:
        old = was.pop((each.model, each.version), None)
        if old is None or (old.state, old.reason) != (each.state, each.reason):
            name = f"{each.model} version {each.version}" if each.version else each.model
            yield f"{name}: {each.state}" + (f" ({each.reason})" if each.reason else "")
    for model, version in was:
        yield f"{model} version {version}: gone" if version else f"{model}: gone"
