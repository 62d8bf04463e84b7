"""What an MLflow model's own file says of it, and which of its files Triton can serve; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.kinds import find_kind, read_artefact
from serve_deploy.origin import Origin

DESCRIPTION = "MLmodel"
# Where each flavour says that its files are; the first that Triton serves counts.
_FLAVOURS = (
    ("onnx", "data"), ("tensorflow", "saved_model_dir"), ("tensorflow", "data"), ("keras", "data"),
    ("pytorch", "model_data"), ("xgboost", "data"), ("lightgbm", "data"),
)  # fmt: skip
# Flavours of which only code can make a model that serve exports, with the call that loads it.
_LOADED = {"sklearn": "mlflow.sklearn.load_model", "pytorch": "mlflow.pytorch.load_model"}


class SavedExample(BaseModel):
    """Where a model's input example is, and of which kind: ndarray, dataframe or another."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    artifact_path: str
    type: str


class Description(BaseModel):
    """The file MLmodel; a signature's sides are JSON in it."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    flavors: dict[str, dict[str, Any]]
    run_id: str | None = None
    signature: dict[str, Any] | None = None
    saved_input_example_info: SavedExample | None = None


def read_description(folder: Path) -> Description:
    """Read MLmodel; InvalidModelError where it is none."""
    path = folder / DESCRIPTION
    try:
        return Description.model_validate(yaml.safe_load(path.read_bytes()))
    except (OSError, yaml.YAMLError, ValidationError, RecursionError) as error:
        raise InvalidModelError(f"{path.name} is not as MLflow writes it: {type(error).__name__}") from error


def find_artefact(described: Description, folder: Path, origin: Origin) -> Path:
    """The file or folder in the model that Triton serves; InvalidModelError where there is none."""
    refusal: InvalidModelError | None = None
    for flavour, field in _FLAVOURS:
        value = described.flavors.get(flavour, {}).get(field)
        for path in _list_candidates(folder, value) if isinstance(value, str) else ():
            try:
                if _is_served(path):
                    return path
            except InvalidModelError as error:
                refusal = error
    listed = ", ".join(name for name in described.flavors if name != "python_function") or "python_function"
    loaded = next((call for flavour, call in _LOADED.items() if flavour in described.flavors), None)
    hint = (
        "loading it runs the code that is pickled in it; where you trust it, write load.py with"
        f" `import mlflow; model = {loaded}('{origin.pinned}')`, and package load.py:model with `samples`"
        if loaded
        else "log it as ONNX too, with mlflow.onnx.log_model"
    )
    why = refusal.message.replace(f"{folder}/", "") if refusal else f"it is a model of {listed}"
    raise InvalidModelError(f"{origin.asked} has no file that Triton serves: {why}", hint=hint)


def _list_candidates(folder: Path, value: str) -> Iterator[Path]:
    path = inside(folder, value)
    yield path
    if path.is_dir():
        yield from sorted(path.rglob("*"))


def inside(folder: Path, value: str) -> Path:
    """The path of a file that MLmodel names; InvalidModelError where it is not in the model's folder."""
    path = folder / value
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidModelError(f"{DESCRIPTION} names {value}, which lies outside the model", hint="do not trust it")
    return path


def _is_served(path: Path) -> bool:
    """Whether a file or folder is a model for Triton; InvalidModelError for one that only its name makes one."""
    if path.suffix == ".py" or (path.is_dir() and (path / "model.py").exists()) or not path.exists():
        return False
    if path.is_file() and path.suffix == ".onnx":
        return True
    kind = find_kind(path)
    if kind is None or not kind.is_served:
        return False
    read_artefact(path, {}, any_name=True)
    return True
