"""Where a model is packaged to, and what is there already."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import check_model_name, read_existing


class Place(NamedTuple):
    """Where a model will stand, and what stands there now."""

    destination: Path
    existing: ModelFolder | None


def look_at_destination(name: str, repository: Path) -> Place:
    """The model's folder and what is in it; UsageError where the name does not do."""
    check_model_name(name)
    return Place(repository / name, read_existing(repository / name))
