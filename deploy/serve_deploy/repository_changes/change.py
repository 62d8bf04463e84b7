"""What changes of a model, in a running Triton and for its clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# nothing: it keeps serving as it is. in_place: instances are added or ended, no version is loaded again.
# versions: versions are loaded or unloaded beside those that stay. reload: a version that is served is loaded again.
# unknown: the files that a running server has loaded cannot be seen.
# refuse: Triton cannot load the change, and keeps serving what it has. take_down: it stops serving an ensemble.
Action = Literal["nothing", "in_place", "versions", "reload", "load", "unload", "refuse", "take_down", "unknown"]
VersionAction = Literal["kept", "loaded", "reloaded", "unloaded"]


@dataclass(frozen=True)
class VersionChange:
    """What Triton does with one version."""

    version: int
    action: VersionAction


@dataclass(frozen=True)
class TritonPlan:
    """What a running Triton does with a model, and why; `versions` are those served before or afterwards."""

    action: Action
    reasons: tuple[str, ...] = ()
    versions: tuple[VersionChange, ...] = ()


@dataclass(frozen=True)
class ClientEffect:
    """What clients notice: `breaking` where one that works now may get errors, or cannot read the answer."""

    breaking: bool
    field: str
    message: str


@dataclass(frozen=True)
class ModelChange:
    """A model of either repository: what Triton does with it, what clients notice, what is not known."""

    name: str
    action: Action
    reasons: tuple[str, ...]
    versions: tuple[VersionChange, ...]
    effects: tuple[ClientEffect, ...]
    notes: tuple[str, ...] = ()

    @property
    def breaks(self) -> bool:
        """Whether clients break."""
        return any(effect.breaking for effect in self.effects)
