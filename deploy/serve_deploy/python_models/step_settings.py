"""Read a standard step's settings: what they may be, and plain words for what they may not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serve_deploy.errors import UsageError
from serve_deploy.model_config.problem import did_you_mean
from serve_deploy.refused_values import find_path, say_plainly


class StepSettings(BaseModel):
    """What every standard step has: `input` and `output` rename its first tensor of each kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    input: str
    output: str


Settings = TypeVar("Settings", bound=StepSettings)


def read_settings(kind: type[Settings], step: str, given: Mapping[str, object]) -> Settings:
    """The settings as the step's class; UsageError names the one that is wrong."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        refusal = error.errors()[0]
    name = find_path(given, refusal) or str(refusal["loc"][0])
    if refusal["type"] == "extra_forbidden":
        known = sorted(kind.model_fields)
        raise UsageError(
            f"{step} has no setting `{name}`", hint=did_you_mean(name, known) or f"its settings: {', '.join(known)}"
        )
    field = kind.model_fields[name.partition(".")[0]]
    raise UsageError(f"{step}: `{name}` {say_plainly(refusal['msg'])}", hint=f"it is {field.description}")


def read_beside(folder: Path, file: str, step: str, setting: str) -> bytes:
    """The bytes of a file that a setting names; UsageError where it cannot be read."""
    try:
        return (folder / file).read_bytes()
    except OSError as error:
        raise UsageError(f"{step}: `{setting}`: {folder / file} cannot be read: {error.strerror}") from error


def read_json_beside(folder: Path, file: str, step: str, setting: str) -> dict[str, Any]:
    """The object of a JSON file that a setting names; UsageError where it is something else."""
    try:
        found = json.loads(read_beside(folder, file, step, setting))
    except ValueError as error:
        raise UsageError(f"{step}: `{setting}`: {folder / file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{step}: `{setting}`: {folder / file} is not a JSON object")
    return found
