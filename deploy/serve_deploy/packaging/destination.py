"""Where a model is packaged to, and what is there already."""

from __future__ import annotations

import re
from pathlib import Path

from serve_deploy.errors import UsageError
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import check_model_name, read_existing


def look_at_destination(name: str, repository: Path) -> tuple[Path, ModelFolder | None]:
    """The model's folder and what is in it; UsageError where the repository is not on this machine."""
    check_model_name(name)
    if "://" in str(repository) or re.match(r"(s3|gs|as):/", str(repository)):
        raise UsageError(
            f"{repository} is not on this machine",
            hint="package into a folder, then copy it with the store's own tool (aws s3 sync, gsutil rsync, azcopy)",
        )
    destination = repository / name
    return destination, read_existing(destination)
