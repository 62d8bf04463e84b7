"""Where a model came from that was not on this disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A model as it was `asked` for, and `pinned` to what that was when it was fetched.

    `version` is the commit on a hub, or the registry's number; `run_id` is that of the MLflow run that made it.
    """

    asked: str
    pinned: str
    version: str = ""
    run_id: str = ""
