"""Memory and disk of a replica."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serve_deploy.chart.model_source import copies_locally
from serve_deploy.chart.plan.request import DerivedValue
from serve_deploy.repository.model_folder import ModelFolder

GIB, MIB = 2**30, 2**20
SERVER_MEMORY_BYTES = GIB
SHARED_MEMORY_BYTES = 256 * MIB


def derive_resources(models: Sequence[ModelFolder], source: Mapping[str, Any]) -> Iterator[DerivedValue]:
    """A core; memory from what the models took when they were packaged; disk where models are copied."""
    proofs = [(model, model.manifest.verification) for model in models if model.manifest]
    measured = {model.name: proof.memory_bytes for model, proof in proofs if proof}
    guessed = [model for model in models if model.name not in measured and not model.members]
    samples = sum(
        2 * max(1, model.max_batch_size) * model.manifest.sample_bytes * (model.instances or 2)
        for model, _ in proofs
        if model.manifest
    )
    total = SERVER_MEMORY_BYTES + 1.25 * sum(measured.values()) + samples + SHARED_MEMORY_BYTES
    total += 3 * sum(model.size_bytes for model in guessed)
    parts = ["1 Gi for the server", "256 Mi of shared memory"]
    if measured:
        parts.append(f"1.25 * {_mib(sum(measured.values()))} measured when packaged")
    if samples:
        parts.append(f"{_mib(samples)} for batches in flight")
    if guessed:
        parts.append(f"3 * the size of {', '.join(model.name for model in guessed)}, not measured")
    yield DerivedValue("resources.cpu", "1", "a core of its own for each replica; a busy CPU model takes more: --set")
    yield DerivedValue("resources.memory", _quantity(total), " + ".join(parts))
    if copies_locally(source):
        size = sum(model.size_bytes for model in models)
        origin = f"1 Gi + 1.5 * {_mib(size)} of models, which each replica copies"
        yield DerivedValue("resources.ephemeralStorage", _quantity(GIB + 1.5 * size), origin)


def _quantity(size_bytes: float) -> str:
    step = 256 * MIB
    mebibytes = math.ceil(size_bytes / step) * 256
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / MIB:.0f} Mi" if size_bytes >= MIB else f"{size_bytes / 1024:.0f} Ki"
