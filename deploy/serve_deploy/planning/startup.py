"""How long a replica takes from its creation to its first answer: measured where it was, and assumed where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serve_deploy.repository.model_folder import ModelFolder

NODE_SECONDS, GPU_NODE_SECONDS = 120.0, 300.0
FETCH_BYTES_PER_SECOND = 50e6
ENGINE_BUILD_SECONDS = 600.0
UNMEASURED_STARTUP_SECONDS = 600
SMALLEST_STARTUP_SECONDS = 120


@dataclass(frozen=True)
class Startup:
    """Seconds from a replica's creation to its readiness; `load` is None where it was never measured.

    `language` is what loading a language model was assumed to take when it was packaged. `load_origin` says what the
    loading includes, and where it was measured.
    """

    node_seconds: float
    fetch_seconds: float
    load_seconds: float | None
    engine_seconds: float
    language_seconds: float = 0.0
    load_origin: str = "load {:.1f} (manifests)"

    @classmethod
    def of(cls, models: Sequence[ModelFolder], *, copies: bool, gpu: bool) -> Startup:
        """Add up what the manifests measured, on this machine, of all but ensembles, and assume the rest."""
        plain = [model for model in models if not model.members]
        proofs = [model.manifest.verification for model in plain if model.manifest]
        loads = [proof.load_seconds for proof in proofs if proof]
        languages = [model.manifest.language_model for model in models if model.manifest]
        assumed = [language.load_seconds for language in languages if language]
        return cls(
            node_seconds=GPU_NODE_SECONDS if gpu else NODE_SECONDS,
            fetch_seconds=sum(model.size_bytes for model in models) / FETCH_BYTES_PER_SECOND if copies else 0.0,
            load_seconds=sum(loads) if len(loads) + len(assumed) == len(plain) else None,
            engine_seconds=ENGINE_BUILD_SECONDS * sum(model.builds_engine for model in models),
            language_seconds=sum(assumed),
        )

    @property
    def budget_seconds(self) -> int:
        """How long the startup probe waits: ten times what loading took here, since a cluster's disks are slower."""
        if self.load_seconds is None:
            return UNMEASURED_STARTUP_SECONDS + math.ceil(self.engine_seconds)
        total = 10 * (self.load_seconds + self.fetch_seconds) + 2 * (self.engine_seconds + self.language_seconds)
        return max(SMALLEST_STARTUP_SECONDS, math.ceil(total / 10) * 10)

    @property
    def cold_start_seconds(self) -> int:
        """Node and image, models, engines; where loading was not measured, a minute for it."""
        load = 60.0 if self.load_seconds is None else self.load_seconds
        engines = self.engine_seconds + self.language_seconds
        return min(7200, math.ceil(self.node_seconds + self.fetch_seconds + load + engines))

    @property
    def origin(self) -> str:
        """Where the cold start comes from."""
        load = "load not measured: 60" if self.load_seconds is None else self.load_origin.format(self.load_seconds)
        parts = [f"node and image {self.node_seconds:.0f} (assumed)", load]
        if self.language_seconds:
            parts[1:] = [f"weights and engine {self.language_seconds:.0f} (assumed when packaged)"]
        if self.fetch_seconds:
            parts.append(f"fetch {self.fetch_seconds:.1f} (size at 50 MB/s)")
        if self.engine_seconds:
            parts.append(f"TensorRT engines {self.engine_seconds:.0f} (assumed)")
        return " + ".join(parts) + " s"
