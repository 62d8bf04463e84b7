"""Where a model is packaged to, and what is there already."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import check_model_name, read_existing


def look_at_destination(name: str, repository: Path) -> tuple[Path, ModelFolder | None]:
    """The model's folder and what is in it; UsageError where the name does not do."""
    check_model_name(name)
    destination = repository / name
    return destination, read_existing(destination)
