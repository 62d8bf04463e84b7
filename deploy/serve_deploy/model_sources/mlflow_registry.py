"""Fetch a model of an MLflow registry or run: the version that its alias is now, and what in it Triton can serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import EndpointError, InvalidModelError
from serve_deploy.model_sources.addresses import RegistryAddress, RunAddress
from serve_deploy.model_sources.fetched import Fetched, write_size
from serve_deploy.model_sources.mlflow_client import asking_registry, name_registry, require_mlflow
from serve_deploy.model_sources.mlflow_model import DESCRIPTION, find_artefact, read_description
from serve_deploy.origin import Origin
from serve_deploy.progress import Progress

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_LATEST = "latest"
_MOST_LISTED = 10


def fetch_from_registry(address: RegistryAddress | RunAddress, folder: Path, progress: Progress) -> Fetched:
    """The model in a folder that the caller clears away.

    EndpointError where MLflow does not answer, refuses or has no such model; InvalidModelError where the model has no
    flavour that Triton serves.
    """
    require_mlflow(str(address))
    progress(f"asking MLflow for {address}")
    with asking_registry(str(address)):
        origin = _resolve(address)
        sizes = dict(_list_files(origin.pinned))
    if DESCRIPTION not in sizes:
        raise InvalidModelError(f"{address} has no file {DESCRIPTION}", hint="name the model's folder in the run")
    progress(f"downloading {origin.pinned} ({write_size(sum(sizes.values()))})")
    with asking_registry(str(address)):
        model = _download(origin.pinned, folder)
    _require_sizes(model, sizes, origin.pinned)
    return _describe(origin, model)


def _describe(origin: Origin, folder: Path) -> Fetched:
    from serve_deploy.model_sources.mlflow_example import read_example, write_signature

    described = read_description(folder)
    path = find_artefact(described, folder, origin)
    given = write_signature(described, path)
    samples, notes = read_example(described, folder, path, given)
    origin = origin if origin.run_id else replace(origin, run_id=described.run_id or "")
    return Fetched(path, origin, samples, given, notes)


def _resolve(address: RegistryAddress | RunAddress) -> Origin:
    if isinstance(address, RunAddress):
        return Origin(asked=str(address), pinned=str(address), run_id=address.run_id)
    version = _find_version(address)
    pinned = replace(address, selector=str(version.version), is_alias=False)
    return Origin(
        asked=str(address), pinned=str(pinned), version=str(version.version), run_id=str(version.run_id or "")
    )


def _find_version(address: RegistryAddress) -> ModelVersion:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    try:
        if address.is_alias:
            return client.get_model_version_by_alias(address.name, address.selector)
        if address.selector.isdigit():
            return client.get_model_version(address.name, address.selector)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
            raise
        raise _refuse(address, client, _list_versions(client, address.name)) from error
    stage = address.selector.lower()
    versions = _list_versions(client, address.name)
    found = [each for each in versions if stage in (_LATEST, str(each.current_stage).lower())]
    if not found:
        raise _refuse(address, client, versions)
    return max(found, key=lambda each: int(each.version))


def _list_versions(client: Any, name: str) -> list[ModelVersion]:
    escaped = name.replace("'", "''")
    return list(client.search_model_versions(f"name='{escaped}'"))


def _refuse(address: RegistryAddress, client: Any, versions: list[ModelVersion]) -> EndpointError:
    if not versions:
        return EndpointError(
            f"the MLflow registry {name_registry()} has no model '{address.name}'",
            hint="check the name, or set MLFLOW_TRACKING_URI to the server that holds it",
        )
    newest = sorted(versions, key=lambda each: -int(each.version))[:_MOST_LISTED]
    told = [f"{each.version}{_mark(each)}" for each in newest]
    aliases = client.get_registered_model(address.name).aliases
    told += [f"@{alias} ({version})" for alias, version in sorted(aliases.items())]
    what = "alias" if address.is_alias else "version" if address.selector.isdigit() else "stage"
    return EndpointError(f"{address}: there is no such {what}", hint=f"it has {', '.join(told)}")


def _mark(version: ModelVersion) -> str:
    return "" if version.current_stage in (None, "None") else f" ({version.current_stage})"


def _list_files(address: str, below: str = "") -> Iterator[tuple[str, int]]:
    """The model's files by their paths in it, with their sizes; of a size that is not told, 0."""
    import mlflow.artifacts

    for entry in mlflow.artifacts.list_artifacts(artifact_uri=f"{address}/{below}".rstrip("/")):
        # What the path is relative to depends on the store.
        path = f"{below}/{entry.path.rpartition('/')[2]}".lstrip("/")
        if entry.is_dir:
            yield from _list_files(address, path)
        else:
            yield path, entry.file_size or 0


def _download(address: str, folder: Path) -> Path:
    """The model's own folder: of a run, it is one below."""
    import mlflow.artifacts

    return Path(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder)))


def _require_sizes(folder: Path, sizes: dict[str, int], address: str) -> None:
    for path, size in sizes.items():
        file = folder / path
        if not file.is_file() or (size and file.stat().st_size != size):
            there = f"{file.stat().st_size} bytes" if file.is_file() else "nothing"
            raise EndpointError(
                f"{path} of {address} arrived damaged: {there} of {size} bytes", hint="try again, or look at the server"
            )
