"""CPU, memory and disk of a replica, and how long its start may take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serve_deploy.chart.language_models import derive_shared_memory
from serve_deploy.chart.model_source import copies_locally
from serve_deploy.chart.named_configs import engine_bytes, engine_folders
from serve_deploy.chart.value_paths import DerivedValue
from serve_deploy.planning.result import ColdStart
from serve_deploy.planning.startup import Startup
from serve_deploy.repository.model_folder import ModelFolder

GIB, MIB = 2**30, 2**20
SERVER_MEMORY_BYTES = GIB
SHARED_MEMORY_BYTES = 256 * MIB
# What the chart's default of 1 Gi for /tmp has left.
SPARE_BYTES = 512 * MIB
_FEWEST_TENTHS_OF_A_CORE = 5


def derive_resources(
    models: Sequence[ModelFolder], source: Mapping[str, Any], cpu_cores: float | None = None
) -> Iterator[DerivedValue]:
    """The cores that a sweep saw in use; memory that the models took when packaged; disk where models are copied."""
    packaged = [(model, model.manifest) for model in models if model.manifest]
    # What was measured of an ensemble is what its members take.
    plain = [(model, each.verification) for model, each in packaged if not model.members]
    measured = {model.name: proof.memory_bytes for model, proof in plain if proof}
    languages = [each.language_model for _model, each in packaged if each.language_model]
    engines = {model.name for model, each in packaged if each.language_model}
    guessed = [model for model in models if model.name not in (*measured, *engines) and not model.members]
    samples = sum(
        2 * max(1, model.max_batch_size) * each.sample_bytes * (model.instances or 2) for model, each in packaged
    )
    shared = sum(language.shared_memory_bytes for language in languages) or SHARED_MEMORY_BYTES
    host = sum(language.host_memory_bytes for language in languages)
    total = SERVER_MEMORY_BYTES + 1.25 * sum(measured.values()) + samples + shared + host
    total += 3 * sum(model.size_bytes for model in guessed)
    parts = ["1 Gi for the server", f"{_gib(shared)} of shared memory"]
    if host:
        parts.append(f"{_gib(host)} for the engine (assumed when packaged)")
    if measured:
        parts.append(f"1.25 * {_mib(sum(measured.values()))} measured when packaged")
    if samples:
        parts.append(f"{_mib(samples)} for batches in flight")
    if guessed:
        parts.append(f"3 * the size of {', '.join(model.name for model in guessed)}, not measured")
    yield _derive_cpu(cpu_cores)
    yield DerivedValue("resources.memory", _quantity(total), " + ".join(parts))
    yield from map(derive_shared_memory, languages)
    yield from _derive_disk(models, copies=copies_locally(source))


def _derive_disk(models: Sequence[ModelFolder], *, copies: bool) -> Iterator[DerivedValue]:
    """Room for copied models and for TensorRT's engines, where the default has too little."""
    engines = engine_bytes(models)
    kept = f" + {_mib(engines)} of TensorRT engines (assumed)" if engines else ""
    if copies:
        size = sum(model.size_bytes for model in models)
        origin = f"1 Gi + 1.5 * {_mib(size)} of models, which each replica copies{kept}"
        yield DerivedValue("resources.ephemeralStorage", _quantity(GIB + 1.5 * size + engines), origin)
    elif engines > SPARE_BYTES:
        yield DerivedValue("resources.ephemeralStorage", _quantity(2 * GIB + engines), f"2 Gi{kept}")
        if not engine_folders(models):
            yield DerivedValue("resources.temporary", _quantity(GIB + engines), f"1 Gi{kept}")


def _derive_cpu(cores: float | None) -> DerivedValue:
    if cores is None:
        origin = "one core, assumed; `capacity` of a sweep on the server's machine has it measured"
        return DerivedValue("resources.cpu", "1", origin)
    tenths = max(_FEWEST_TENTHS_OF_A_CORE, math.ceil(round(cores * 10, 3)))
    origin = f"{cores:.2f} cores that the server used at the knee, rounded up; at least half a core"
    return DerivedValue("resources.cpu", f"{tenths * 100}m", origin)


def derive_startup(start: Startup, planned: ColdStart | None = None) -> Iterator[DerivedValue]:
    """The startup probe's budget and the cold start, which is that of the plan where there is one."""
    if start.load_seconds is None:
        origin = "load time not measured; serve package measures it"
    elif start.language_seconds:
        origin = f"2 * the {start.language_seconds:.0f} s assumed when packaged, for weights and engine"
    else:
        origin = f"10 * (load {start.load_seconds:.1f} s + fetch {start.fetch_seconds:.1f} s), at least 120 s"
    yield DerivedValue("probes.startupBudgetSeconds", start.budget_seconds, origin)
    seconds, origin = (
        (math.ceil(planned.seconds), planned.origin) if planned else (start.cold_start_seconds, start.origin)
    )
    yield DerivedValue("autoscaling.coldStartSeconds", seconds, origin)


def _quantity(size_bytes: float) -> str:
    step = 256 * MIB
    mebibytes = math.ceil(size_bytes / step) * 256
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes // GIB:.0f} Gi" if size_bytes % GIB == 0 else _mib(size_bytes)


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / MIB:.0f} Mi" if size_bytes >= MIB else f"{size_bytes / 1024:.0f} Ki"
