"""What a user may decide about packaging a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serve_deploy.model_config import ConfigOptions
from serve_deploy.releases import DEFAULT_RELEASE
from serve_deploy.triton.options import RuntimeName


@dataclass(frozen=True, kw_only=True)
class PackageOptions:
    """`version` None is the one after the newest; `max_batch_size` None follows from the proof.

    `config` holds what goes into config.pbtxt as it is; its name, labels and warm-up follow from the model.
    """

    repository: Path = Path("models")
    name: str | None = None
    version: int | None = 1
    release: str = DEFAULT_RELEASE
    max_batch_size: int | None = None
    samples: Path | None = None
    labels: str | None = None
    fix: bool = False
    force: bool = False
    verify: bool = True
    warmup: bool = True
    runtime: RuntimeName | None = None
    dry_run: bool = False
    config: ConfigOptions = field(default_factory=ConfigOptions)

    @property
    def runs_model(self) -> bool:
        """Whether the model is run at all, to prove how it batches."""
        return self.verify or self.max_batch_size is None
