"""What a release must know of the models in a repository: configuration, manifest, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, Manifest, read_manifest
from serve_deploy.model_config.digest import config_sha256, instance_count, leaves_tensors_open

CONFIG_NAME = "config.pbtxt"


@dataclass(frozen=True)
class ServedModel:
    """One model folder: its configuration in JSON form, its manifest where `serve package` made it, its files."""

    name: str
    config: Mapping[str, Any]
    manifest: Manifest | None
    files: Mapping[str, Path]
    size_bytes: int
    samples: Path | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """The models that an ensemble calls; none for any other."""
        steps = self.config.get("ensemble_scheduling", {}).get("step", [])
        return tuple(dict.fromkeys(step["model_name"] for step in steps))

    @property
    def instances(self) -> int | None:
        """Instances that the configuration asks for; None where it leaves them to Triton."""
        return instance_count(self.config)

    @property
    def max_batch_size(self) -> int:
        """The largest batch; 0 where the model does not batch."""
        return int(self.config.get("max_batch_size", 0))

    @property
    def config_sha256(self) -> str | None:
        """The digest by which a load-test report recognises the configuration; None where Triton completes it."""
        return None if leaves_tensors_open(self.config) else config_sha256(self.config)

    @property
    def builds_engine(self) -> bool:
        """Whether loading it builds a TensorRT engine, which takes minutes."""
        accelerators = self.config.get("optimization", {}).get("execution_accelerators", {})
        return any(each.get("name") == "tensorrt" for each in accelerators.get("gpu_execution_accelerator", []))


def read_models(repository: Path) -> tuple[ServedModel, ...]:
    """Read every model folder; InvalidModelError where it holds none, or a configuration cannot be read."""
    if not repository.is_dir():
        raise UsageError(f"{repository} is not a folder", hint="name the model repository, as serve package writes it")
    folders = [path for path in sorted(repository.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    models = tuple(_read_model(folder) for folder in folders if _is_model(folder))
    if not models:
        raise InvalidModelError(
            f"{repository} holds no model", hint="a model is a folder with config.pbtxt, or with a version folder"
        )
    _check_members(models)
    return models


def top_level(models: Sequence[ServedModel]) -> tuple[str, ...]:
    """The models that clients call: all but the members of ensembles."""
    members = {member for model in models for member in model.members}
    return tuple(model.name for model in models if model.name not in members)


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG_NAME).is_file() or any(path.is_dir() and path.name.isdigit() for path in folder.iterdir())


def _read_model(folder: Path) -> ServedModel:
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST_NAME, SAMPLES_NAME)
    }
    size = sum(path.stat().st_size for path in files.values())
    samples = folder / SAMPLES_NAME
    return ServedModel(
        folder.name, _read_config(folder), read_manifest(folder), files, size, samples if samples.is_file() else None
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_NAME
    if not path.is_file():
        return {}
    from google.protobuf.json_format import MessageToDict

    from serve_deploy.model_config.pbtxt import parse_config

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelError(f"cannot read {path}: {error}") from error
    config: dict[str, Any] = MessageToDict(parse_config(text, path), preserving_proto_field_name=True)
    return {"name": folder.name, **config}


def _check_members(models: Sequence[ServedModel]) -> None:
    names = {model.name for model in models}
    for model in models:
        missing = [member for member in model.members if member not in names]
        if missing:
            raise InvalidModelError(
                f"ensemble {model.name} calls {', '.join(missing)}, which the repository does not hold",
                hint="put every member's folder beside the ensemble's",
            )
