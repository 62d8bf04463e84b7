"""A running server against a snapshot: models, versions and configurations, as far as Triton tells them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import ModelState
from serve_deploy.model_config import CONFIG_NAME, CONFIGS_FOLDER
from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.progress import silent
from serve_deploy.repository.model_folder import ModelFolder, read_model_folder
from serve_deploy.stores.pull.readers import SnapshotReader

_TIMEOUT_SECONDS, _AT_ONCE = 30.0, 8
_READY = "READY"
# The parts of a path: the model, the version, and what is in it.
_IN_VERSION = 2


@dataclass(frozen=True)
class ServedModel:
    """One model of either side; `differences` is empty where the server serves what the snapshot has.

    `config_compared` is False where Triton completed the configuration, so that nothing tells whether it is the same.
    """

    name: str
    expected_versions: tuple[int, ...]
    served_versions: tuple[int, ...]
    config_compared: bool
    differences: tuple[str, ...]


@dataclass(frozen=True)
class ServedSnapshot:
    """What a server serves, model by model; the content of its files is not told by Triton, and not compared."""

    url: str
    server_version: str
    models: tuple[ServedModel, ...]

    @property
    def different(self) -> tuple[ServedModel, ...]:
        """The models that are not served as the snapshot has them."""
        return tuple(model for model in self.models if model.differences)


def read_configured(reader: SnapshotReader, folder: Path, config_name: str) -> dict[str, ModelFolder]:
    """The models of a snapshot: their configurations, received into a folder, and which versions there are."""
    files = [(file, PurePosixPath(file.path).parts) for file in reader.snapshot.files]
    configs = [
        file
        for file, parts in files
        if parts[1:] == (CONFIG_NAME,) or (parts[1] == CONFIGS_FOLDER and parts[-1].endswith(".pbtxt"))
    ]
    reader.receive(configs, folder, parts=folder.parent / "parts", local={}, concurrency=_AT_ONCE, progress=silent)
    for _file, parts in files:
        is_version = len(parts) > _IN_VERSION and parts[1].isdecimal()
        folder.joinpath(*parts[: 2 if is_version else 1]).mkdir(parents=True, exist_ok=True)
    found = (read_model_folder(folder / name) for name in reader.snapshot.models)
    return {each.name: each.under(config_name) if config_name else each for each in found}


def compare_served(folders: Mapping[str, ModelFolder], url: str) -> ServedSnapshot:
    """Ask a server for everything that it serves; EndpointError where it does not answer."""
    with ControlPlane(parse_endpoint(url), timeout_seconds=_TIMEOUT_SECONDS) as control:
        version = str(control.server_metadata().get("version", ""))
        states: dict[str, list[ModelState]] = {}
        for state in control.model_states():
            states.setdefault(state.name, []).append(state)
        # Without a version a model is only in the repository, and nobody asked for it.
        known = folders.keys() | {name for name, each in states.items() if any(state.version for state in each)}
        models = (_compare(name, folders.get(name), states.get(name, ()), control) for name in sorted(known))
        return ServedSnapshot(url, version, tuple(models))


def _compare(name: str, folder: ModelFolder | None, states: Sequence[ModelState], control: ControlPlane) -> ServedModel:
    served = tuple(sorted(int(state.version) for state in states if state.state == _READY))
    expected = folder.served_versions if folder else ()
    model = ServedModel(name, expected, served, False, ())
    if folder is None:
        return replace(model, differences=("the snapshot does not have it",)) if served else model
    if not served:
        reasons = dict.fromkeys(state.reason for state in states if state.reason)
        said = f": {'; '.join(reasons)}" if reasons else ""
        return replace(model, differences=(f"it is not served{said}",))
    differences = [*_compare_versions(expected, served)]
    own, served_config = folder.config_sha256, control.model_config(name)
    if own is not None and own != config_sha256(served_config):
        differences.append("it is served with another configuration")
    elif folder.instances is not None and folder.instances != instance_count(served_config):
        differences.append(f"{instance_count(served_config)} instances are served, {folder.instances} are configured")
    return replace(model, config_compared=own is not None, differences=tuple(differences))


def _compare_versions(expected: Sequence[int], served: Sequence[int]) -> Iterator[str]:
    missing, extra = sorted(set(expected) - set(served)), sorted(set(served) - set(expected))
    if missing:
        yield f"version {', '.join(map(str, missing))} is not served"
    if extra:
        yield f"version {', '.join(map(str, extra))} is served, and the snapshot does not serve it"
