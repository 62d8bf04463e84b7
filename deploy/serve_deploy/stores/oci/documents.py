"""The documents of an image: index, manifests, configs and the snapshot inside them; what lies is refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_deploy.errors import VerificationError
from serve_deploy.stores.names import find_bad_path
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile, digest_listing

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
# Weights hardly shrink, and nodes unpack what is not compressed several times faster.
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
# What tools that copy images may make of these.
INDEX_TYPES = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
_GZIP_TYPES = (f"{LAYER_TYPE}+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip")
LAYER_TYPES = (LAYER_TYPE, "application/vnd.docker.image.rootfs.diff.tar", *_GZIP_TYPES)
# kubelets pull what fits their node; the models are the same for all.
_ARCHITECTURES = ("amd64", "arm64")
SNAPSHOT_ANNOTATION = "triton-serve/snapshot"
_TITLE = "org.opencontainers.image.title"
_Document = TypeVar("_Document", bound=BaseModel)


class Descriptor(BaseModel):
    """What a document says of another: its digest, size and media type."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    media_type: str = Field(alias="mediaType")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    annotations: Mapping[str, str] = {}
    platform: Mapping[str, Any] = {}
    artifact_type: str = Field(default="", alias="artifactType")


@dataclass(frozen=True)
class Blob:
    """A small document, ready to be sent."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """sha256:… of its bytes."""
        return digest_bytes(self.content)

    def describe(self, **more: Any) -> dict[str, Any]:
        """Its descriptor."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content), **more}


# What an artefact without a configuration, or without content, names in its place.
EMPTY = Blob(b"{}", "application/vnd.oci.empty.v1+json")


@dataclass(frozen=True)
class StoredLayer:
    """A layer in a registry: its blob, the digest of the tar in it, and the files that it holds."""

    title: str
    files: tuple[SnapshotFile, ...]
    blob: Descriptor
    diff_id: str

    @property
    def listing(self) -> str:
        """The digest of its files."""
        return digest_listing((file.path, file.sha256) for file in self.files)

    @property
    def is_compressed(self) -> bool:
        """Whether the blob is the tar in gzip."""
        return self.blob.media_type in _GZIP_TYPES


@dataclass(frozen=True)
class ImageDocuments:
    """What a push sends besides layers, in the order in which each needs those before it."""

    configs: tuple[Blob, ...]
    manifests: tuple[Blob, ...]
    index: Blob = field(repr=False)


class _ListedLayer(BaseModel):
    title: str
    files: tuple[SnapshotFile, ...]


class _Listing(BaseModel):
    sha256: str
    layers: tuple[_ListedLayer, ...]


class _RootFileSystem(BaseModel):
    diff_ids: tuple[str, ...]


class _Config(BaseModel):
    rootfs: _RootFileSystem
    listing: _Listing | None = Field(default=None, alias="triton-serve/snapshot")


class Manifest(BaseModel):
    """An image of one platform, or something else with layers, such as a signature."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = Field(default="", alias="artifactType")


class Index(BaseModel):
    """An image of several platforms, or a list of what refers to one."""

    manifests: tuple[Descriptor, ...]


class Document(BaseModel):
    """What any document names: an index its manifests, a manifest its layers."""

    manifests: tuple[Descriptor, ...] = ()
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    annotations: Mapping[str, str] = {}


def build_documents(snapshot: Snapshot, layers: Sequence[StoredLayer]) -> ImageDocuments:
    """The same bytes for the same snapshot and layers: pushed again, an image keeps its digest."""
    notes = {
        SNAPSHOT_ANNOTATION: snapshot.id,
        _TITLE: ", ".join(snapshot.models),
        "org.opencontainers.image.description": "A Triton model repository, pushed by serve",
    }
    configs = tuple(_build_config(snapshot, layers, architecture) for architecture in _ARCHITECTURES)
    manifests = tuple(_build_manifest(config, layers, notes) for config in configs)
    described = [
        manifest.describe(platform={"architecture": architecture, "os": "linux"})
        for architecture, manifest in zip(_ARCHITECTURES, manifests, strict=True)
    ]
    return ImageDocuments(configs, manifests, build_index(described, notes))


def _build_config(snapshot: Snapshot, layers: Sequence[StoredLayer], architecture: str) -> Blob:
    listed = [{"title": layer.title, "files": [_list_file(file) for file in layer.files]} for layer in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Labels": {SNAPSHOT_ANNOTATION: snapshot.id}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": f"serve push: {layer.title}"} for layer in layers],
        SNAPSHOT_ANNOTATION: {"format": snapshot.format, "sha256": snapshot.sha256, "layers": listed},
    }
    return _encode(config, CONFIG_TYPE)


def _list_file(file: SnapshotFile) -> dict[str, Any]:
    return {"path": file.path, "sha256": file.sha256, "size_bytes": file.size_bytes}


def _build_manifest(config: Blob, layers: Sequence[StoredLayer], notes: Mapping[str, str]) -> Blob:
    described = [
        {
            "mediaType": layer.blob.media_type,
            "digest": layer.blob.digest,
            "size": layer.blob.size,
            "annotations": {_TITLE: layer.title},
        }
        for layer in layers
    ]
    return build_manifest(config.describe(), described, annotations=notes)


def build_manifest(config: Mapping[str, Any], layers: Sequence[Mapping[str, Any]], **more: Any) -> Blob:
    """A manifest over blobs that are described."""
    return _encode(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers, **more}, MANIFEST_TYPE
    )


def build_index(manifests: Sequence[Mapping[str, Any]], notes: Mapping[str, str]) -> Blob:
    """An index over manifests that are described."""
    return _encode(
        {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests, "annotations": notes}, INDEX_TYPE
    )


def _encode(document: Mapping[str, Any], media_type: str) -> Blob:
    return Blob(json.dumps(document, separators=(",", ":"), sort_keys=True).encode(), media_type)


def digest_bytes(content: bytes) -> str:
    """sha256:…, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_index(content: bytes, where: str) -> Index:
    """VerificationError where it is none."""
    return _parse(Index, content, where)


def parse_manifest(content: bytes, where: str) -> Manifest:
    """VerificationError where it is none."""
    return _parse(Manifest, content, where)


def parse_leniently(content: bytes) -> Document:
    """Whatever a tag may name; of what cannot be read nothing is known."""
    try:
        return Document.model_validate_json(content)
    except ValidationError:
        return Document()


def parse_layers(manifest: Manifest, config: bytes, where: str) -> tuple[StoredLayer, ...] | None:
    """The layers and their files, or None where serve did not push the image; VerificationError where they do not fit.

    The listing's paths, sizes and digest are checked, and that it is one of the layers that the manifest names.
    """
    read = _parse(_Config, config, where)
    if read.listing is None:
        return None
    diff_ids, listed = read.rootfs.diff_ids, read.listing.layers
    if not len(manifest.layers) == len(diff_ids) == len(listed):
        raise damaged(where, "its layers are not those that serve listed; another tool may have rebuilt it")
    for blob in manifest.layers:
        if blob.media_type not in LAYER_TYPES:
            raise damaged(where, f"serve cannot read layers of type {blob.media_type!a}")
    for diff_id in diff_ids:
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", diff_id):
            raise damaged(where, "its configuration names a layer by no sha256")
    rows = zip(listed, manifest.layers, diff_ids, strict=True)
    return tuple(StoredLayer(each.title, each.files, blob, diff_id) for each, blob, diff_id in rows)


def read_snapshot(layers: Sequence[StoredLayer], config: bytes, where: str) -> Snapshot:
    """The snapshot that layers hold; VerificationError where its digest, paths or sizes are impossible."""
    files = tuple(sorted((file for layer in layers for file in layer.files), key=lambda file: file.path))
    for file in files:
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256) or file.size_bytes < 0:
            raise damaged(where, f"{file.path!a} has no valid sha256 or size")
    if bad := find_bad_path([file.path for file in files]):
        raise damaged(where, bad)
    listing = _parse(_Config, config, where).listing
    sha256 = digest_listing((file.path, file.sha256) for file in files)
    if listing is None or sha256 != listing.sha256:
        raise damaged(where, "its files are not those that its digest was made of")
    return Snapshot(sha256=sha256, files=files)


def _parse(kind: type[_Document], content: bytes, where: str) -> _Document:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise damaged(where, "it is not the document of an image") from error


def damaged(where: str, why: str) -> VerificationError:
    """A registry gave something else than what its digests and lists promise."""
    return VerificationError(
        f"{where} is damaged: {why}",
        hint="take another image; a push does not replace what the registry believes to have: its storage needs repair",
    )
