"""A standard step with its settings read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from serve_deploy.python_models.model import no_doubt
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.python_models.model import Arrays


@dataclass(frozen=True)
class SettledStep:
    """Its tensors, what its function reads as settings.json, and the files that go with it.

    `merges` says that rows of several requests may share a call; `samples` are requests of one row.
    """

    signature: ModelSignature
    settings: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    batches: bool = True
    merges: bool = True
    samples: tuple[Arrays, ...] = ()
    doubt: Callable[[Sequence[Arrays]], str] = no_doubt
