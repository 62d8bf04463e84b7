"""A running server against a snapshot: models, versions and configurations, as far as Triton tells them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.model import ModelState
from serve_deploy.model_config import CONFIG_NAME, CONFIGS_FOLDER, parse_config
from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.repository.model_folder import ModelFolder, NamedConfig
from serve_deploy.stores.manifests import Located
from serve_deploy.stores.store import Store

_TIMEOUT_SECONDS = 30.0
# What stands in a store is no folder here.
_NOWHERE = Path(os.devnull)
_READY = "READY"


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


def read_stored_models(store: Store, located: Located, config_name: str) -> dict[str, ModelFolder]:
    """The models of a snapshot by their configurations, which are read from the store, and the names of their files."""
    found = (_read_model(store, located, name) for name in located.snapshot.models)
    return {folder.name: folder.under(config_name) if config_name else folder for folder in found}


def _read_model(store: Store, located: Located, name: str) -> ModelFolder:
    """A model's folder as `read_model_folder` would find it, without its files."""
    files = [PurePosixPath(file.path) for file in located.snapshot.files if file.path.startswith(f"{name}/")]
    versions = {int(file.parts[1]) for file in files if len(file.parts) > 2 and file.parts[1].isdecimal()}
    texts = {
        str(file.relative_to(name)): _read_text(store, f"{located.prefix}{file}")
        for file in files
        if file.parts[1:] == (CONFIG_NAME,) or (file.parts[1] == CONFIGS_FOLDER and file.suffix == ".pbtxt")
    }
    named = {
        PurePosixPath(path).stem: NamedConfig(text, parse_config(text))
        for path, text in texts.items()
        if path != CONFIG_NAME
    }
    text = texts.get(CONFIG_NAME)
    return ModelFolder(
        _NOWHERE / name, (0, 0, 0), tuple(sorted(versions)), text, parse_config(text or ""), None, {}, named
    )


def _read_text(store: Store, path: str) -> str:
    small = store.read(path)
    return small.content.decode(errors="replace") if small else ""


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
