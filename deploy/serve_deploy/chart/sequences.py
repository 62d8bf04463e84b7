"""What models with sequences need of a deployment: all requests of a sequence reach the pod that keeps its state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_deploy.chart.value_paths import DerivedValue
from serve_deploy.repository.model_folder import ModelFolder


def derive_affinity(models: Sequence[ModelFolder]) -> Iterator[DerivedValue]:
    """The Service sends a client's requests to one pod."""
    names = _with_sequences(models)
    if names:
        yield DerivedValue("service.sessionAffinity", "ClientIP", f"{names}: a pod keeps the state of its sequences")


def note_sequences(models: Sequence[ModelFolder]) -> Iterator[str]:
    """What no affinity prevents."""
    names = _with_sequences(models)
    if names:
        yield (
            f"{names}: the state of a sequence is lost when its pod ends, as in a rollout; clients then start it anew. "
            "Behind an Ingress or Gateway, route by sequence"
        )


def _with_sequences(models: Sequence[ModelFolder]) -> str:
    return ", ".join(model.name for model in models if model.config.HasField("sequence_batching"))
