"""List the models of a running server, load and unload them, and watch them: `serve models`."""

from __future__ import annotations

import http.client
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from serve_deploy.endpoint.connection import RefusedError
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.live_models.memory import read_local_memory
from serve_deploy.live_models.options import ModelsOptions
from serve_deploy.live_models.served import Document, ServedModels, describe_versions, with_rates
from serve_deploy.progress import Progress, silent

_METRICS_SECONDS = 2.0
_NOT_EXPLICIT = "explicit model load / unload is not allowed"
_GPU_MEMORY, _LOAD_SECONDS = "nv_gpu_memory_used_bytes", "nv_model_load_duration_secs"
_LOOK_SECONDS = 10.0


def read_models(options: ModelsOptions, *, progress: Progress = silent) -> ServedModels:
    """Load and unload what was asked for, and say what the server has then.

    EndpointError where nothing answers or a model is refused; UsageError where unloading would take down an ensemble.
    """
    done = _change(options, progress) if options.load or options.unload else ()
    progress(f"asking {options.endpoint.url}")
    return replace(look(options), done=done)


def watch_models(
    options: ModelsOptions,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[ServedModels]:
    """Look again and again, for ever, also while the server is away; EndpointError where it never answered."""
    before, seen_at = look(options), time.monotonic()
    yield before
    while True:
        sleep(options.interval_seconds)
        try:
            now, at = look(options), time.monotonic()
            yield with_rates(now, before, at - seen_at)
            before, seen_at = now, at
        except EndpointError as error:
            before = ServedModels(options.endpoint.url, "", (), is_reachable=False, problem=error.message)
            yield before


def look(options: ModelsOptions) -> ServedModels:
    """What the server says now; EndpointError where it does not answer."""
    with ControlPlane(options.endpoint, timeout_seconds=_LOOK_SECONDS) as control:
        version = str(control.server_metadata().get("version", ""))
        states = control.model_states()
        statistics, unknown = _read_statistics(control)
    gauges, unread = read_metrics(options.metrics_url)
    ready = {(state.name, state.version) for state in states if state.state == "READY"}
    memory = read_local_memory(options.endpoint, ready)
    loads = {(labels["model"], labels["version"]): value for labels, value in gauges.get(_LOAD_SECONDS, ())}
    gpus = [value for _labels, value in gauges.get(_GPU_MEMORY, ())]
    return ServedModels(
        options.endpoint.url,
        version,
        describe_versions(states, statistics, memory.versions, loads),
        server_memory_bytes=memory.server_bytes,
        gpu_memory_bytes=int(sum(gpus)) if gpus else None,
        notes=(*unknown, *unread),
    )


def _read_statistics(control: ControlPlane) -> tuple[list[Document], tuple[str, ...]]:
    try:
        return control.statistics(), ()
    except RefusedError as error:  # the server may keep this part of its API to itself
        return [], (f"no statistics from the server: {error.reason}",)


Gauges = Mapping[str, list[tuple[dict[str, str], float]]]


def read_metrics(url: str | None) -> tuple[Gauges, tuple[str, ...]]:
    """What Triton exports of memory and load times, and why it could not be read."""
    if url is None:
        return {}, ()
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    try:
        with urllib.request.urlopen(url, timeout=_METRICS_SECONDS) as answer:  # noqa: S310 - as given
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            if family.name in (_GPU_MEMORY, _LOAD_SECONDS):
                found[family.name] = [(sample.labels, sample.value) for sample in family.samples]
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error  # urllib wraps the system's own in another
        return {}, (f"{url} cannot be read: {getattr(reason, 'strerror', None) or reason}",)
    return found, ()


def _change(options: ModelsOptions, progress: Progress) -> tuple[str, ...]:
    done = []
    with ControlPlane(options.endpoint, timeout_seconds=options.timeout_seconds) as control:
        taken_down = _require_harmless(options, control)
        if options.dry_run:
            _require_explicit(options, control)
        for name in options.unload:
            took = "takes" if options.dry_run else "took"
            above = f", which {took} down {', '.join(taken_down[name])}" if taken_down[name] else ""
            if not options.dry_run:
                progress(f"unloading {name}")
                _ask(options, name, "unload", control.unload_model)
            done.append(f"{'would unload' if options.dry_run else 'unloaded'} {name}{above}")
        for name in options.load:
            if not options.dry_run:
                progress(f"loading {name}")
                _ask(options, name, "load", control.load_model)
            done.append(f"{'would load' if options.dry_run else 'loaded'} {name}")
    return tuple(done)


def _ask(options: ModelsOptions, name: str, what: str, ask: Callable[[str], None]) -> None:
    try:
        ask(name)
    except RefusedError as error:
        if _NOT_EXPLICIT in error.reason:
            raise EndpointError(
                f"{options.endpoint.url} does not {what} models when asked",
                hint="start Triton with --model-control-mode=explicit; serve run does with --explicit",
            ) from error
        raise EndpointError(
            f"{options.endpoint.url} did not {what} {name}: {error.reason}", hint="the server's log says more"
        ) from error


def _require_explicit(options: ModelsOptions, control: ControlPlane) -> None:
    """EndpointError where the server loads and unloads nothing when asked; found by unloading what nobody has."""
    _ask(options, f"none-{secrets.token_hex(8)}", "load" if options.load else "unload", control.unload_model)


def _require_harmless(options: ModelsOptions, control: ControlPlane) -> dict[str, tuple[str, ...]]:
    """The ensembles that each unload takes down; UsageError where they are not to be unloaded as well."""
    states = control.model_states()
    known = {state.name for state in states}
    for name in (*options.load, *options.unload):
        if known and name not in known:
            raise UsageError(
                f"{options.endpoint.url} knows no model '{name}'", hint=f"it has {', '.join(sorted(known))}"
            )
    if not options.unload:
        return {}
    members = {}
    for name in {state.name for state in states if state.state == "READY"}:
        with suppress(EndpointError):
            steps = control.model_config(name).get("ensemble_scheduling", {}).get("step", ())
            members[name] = {step["model_name"] for step in steps}
    taken_down = {name: find_above(name, members) for name in options.unload}
    for name, above in taken_down.items():
        others = [each for each in above if each not in options.unload]
        if others and not options.force and not options.dry_run:
            raise UsageError(
                f"unloading {name} takes down {', '.join(others)}, which run{'s' if len(others) == 1 else ''} it",
                hint="`force=True` does it all the same",
            )
    return taken_down


def find_above(name: str, members: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The ensembles that run a model, directly or through others; `members` has those that each model runs."""
    above: list[str] = []
    queue = [name]
    while queue:
        each = queue.pop()
        new = [other for other in members if each in members[other] and other not in above]
        above += new
        queue += new
    return tuple(sorted(above))
