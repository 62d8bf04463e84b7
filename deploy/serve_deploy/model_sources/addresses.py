"""How models are named that are not on this disk: hf://, models:/ and runs:/ as their libraries write them, s3://…"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress, parse_address

_HUB_HINT = "write it as hf://ORG/MODEL, hf://ORG/MODEL@REVISION or hf://ORG/MODEL/path/in/it.onnx"
_REGISTRY_HINT = "write it as models:/NAME/VERSION, models:/NAME@ALIAS or models:/NAME/latest"
_STORE_HINT = "write it as s3://bucket/path/model.onnx, gs://… or as://account/container/…"
_RUN_HINT = "write it as runs:/RUN_ID/path/of/the/model"


@dataclass(frozen=True)
class HubAddress:
    """A model of the Hugging Face Hub; `path` is a file or folder in it, empty where it is to be found."""

    repository: str
    revision: str | None = None
    path: str = ""

    @property
    def model_name(self) -> str:
        """What the model is called by default."""
        return self.repository.rpartition("/")[2]

    def __str__(self) -> str:
        # A revision such as refs/pr/1 is written as the hub's own client reads it.
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision else ""
        return f"hf://{self.repository}{revision}" + (f"/{self.path}" if self.path else "")


@dataclass(frozen=True)
class RegistryAddress:
    """A model of an MLflow registry: a version's number, an alias, a stage or "latest"."""

    name: str
    selector: str
    is_alias: bool = False

    @property
    def model_name(self) -> str:
        """What the model is called by default."""
        return self.name

    def __str__(self) -> str:
        return f"models:/{self.name}{'@' if self.is_alias else '/'}{self.selector}"


@dataclass(frozen=True)
class RunAddress:
    """A model that an MLflow run logged, not registered."""

    run_id: str
    path: str

    @property
    def model_name(self) -> str:
        """What the model is called by default."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"runs:/{self.run_id}/{self.path}"


@dataclass(frozen=True)
class StoredAddress:
    """A file in a bucket, by the folder that it is in."""

    store: StoreAddress
    name: str

    @property
    def model_name(self) -> str:
        """What the model is called by default."""
        return PurePosixPath(self.name).stem

    def __str__(self) -> str:
        return f"{self.store}/{self.name}"


SourceAddress = HubAddress | RegistryAddress | RunAddress | StoredAddress


def parse_source(text: str) -> SourceAddress | None:
    """The address in a text; None for a local path, UsageError for an address that names no model."""
    scheme, colon, rest = text.partition(":")
    reader = _READERS.get(scheme)
    return reader(text, rest) if colon and reader and rest.startswith("/") else None


def _parse_hub(text: str, rest: str) -> HubAddress:
    # The second part is the model's name, and what follows it the path; old models have one part only.
    found = re.fullmatch(r"//([\w.-]+/[\w.-]+)(?:@([^/@\s]+))?(?:/(.*))?", rest)
    found = found or re.fullmatch(r"//([\w.-]+)(?:@([^/@\s]+)(?:/(.*))?)?", rest)
    path = (found[3] or "").strip("/") if found else ""
    if found is None or any(part in ("", ".", "..") for part in path.split("/") if path):
        raise UsageError(f"{text} is not the address of a model on the hub", hint=_HUB_HINT)
    return HubAddress(found[1], found[2].replace("%2F", "/") if found[2] else None, path)


def _parse_registry(text: str, rest: str) -> RegistryAddress:
    versioned = re.fullmatch(r"/([^/@\s][^/@]*)/([^/@\s]+)/?", rest)
    aliased = re.fullmatch(r"/([^/@\s][^/@]*)@([^/@\s]+)/?", rest)
    found = versioned or aliased
    if found is None:
        raise UsageError(f"{text} is not the address of a registered model", hint=_REGISTRY_HINT)
    return RegistryAddress(found[1], found[2], is_alias=versioned is None)


def _parse_run(text: str, rest: str) -> RunAddress:
    found = re.fullmatch(r"/([\w-]+)/([^/\s][^\s]*?)/?", rest)
    if found is None or any(part in ("", ".", "..") for part in found[2].split("/")):
        raise UsageError(f"{text} is not the address of a run's model", hint=_RUN_HINT)
    return RunAddress(found[1], found[2])


def _parse_stored(text: str, _rest: str) -> StoredAddress:
    address = parse_address(text)
    folder, _, name = address.location.rpartition("/")
    least = 2 if address.kind == "azure" else 1
    if address.snapshot is not None or "." not in name or len([part for part in folder.split("/") if part]) < least:
        raise UsageError(f"{text} is not the address of a file in a bucket", hint=_STORE_HINT)
    return StoredAddress(replace(address, location=folder), name)


_READERS: Mapping[str, Callable[[str, str], SourceAddress]] = {
    "hf": _parse_hub, "models": _parse_registry, "runs": _parse_run,
    "s3": _parse_stored, "gs": _parse_stored, "as": _parse_stored,
}  # fmt: skip
