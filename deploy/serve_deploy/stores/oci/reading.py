"""Read an image's documents: what it is, what it holds, and whether the registry has all of it."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serve_deploy.errors import VerificationError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    Manifest,
    StoredLayer,
    damaged,
    parse_index,
    parse_layers,
    parse_manifest,
    read_snapshot,
)
from serve_deploy.stores.oci.downloading import read_manifest, read_small
from serve_deploy.stores.oci.reference import ImageReference, read_reference
from serve_deploy.stores.oci.uploading import has_blob
from serve_deploy.stores.snapshot import Snapshot

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_CONCURRENCY = 8


class ForeignImageError(VerificationError):
    """An image that is none of serve's."""


@dataclass(frozen=True)
class StoredImage:
    """An image in a registry: its digest, which is what names it for good, and the snapshot in its layers."""

    reference: ImageReference
    digest: str
    media_type: str
    size_bytes: int
    snapshot: Snapshot
    layers: tuple[StoredLayer, ...]

    @property
    def pinned(self) -> str:
        """registry/repository@sha256:…, as Kubernetes takes it."""
        return str(self.reference.at(self.digest))


@dataclass(frozen=True)
class ImageCheck:
    """What a registry has of an image: its snapshot, and the layers that are missing or of another size.

    `listed` are the files in the other layers, whose content nobody looked at.
    """

    image: StoredImage
    problems: tuple[str, ...]
    listed: tuple[str, ...]


def read_image(address: StoreAddress) -> StoredImage | None:
    """The image that an address names; None where the registry has no such repository, tag or digest.

    VerificationError where its documents are not what their digests say, or it is none that serve pushed;
    EndpointError where the registry cannot be reached or refuses.
    """
    with Connection(read_reference(address)) as connection:
        return read_stored(connection)


def check_image(address: StoreAddress) -> ImageCheck | None:
    """Read an image and ask for every layer of every platform, without receiving one; None as for `read_image`.

    All platforms must have the same layers: what is said of the models here is said of every node.

    A registry compared a layer with its digest when it was pushed; whether its disk kept it, only a pull tells.
    """
    with Connection(read_reference(address)) as connection:
        image = read_stored(connection)
        if image is None:
            return None
        lost = find_lost_blobs(connection, image)
        there = [layer for layer in image.layers if layer.blob.digest not in lost]
        listed = tuple(file.path for layer in there for file in layer.files)
        return ImageCheck(image, (*lost.values(), *_find_strangers(connection, image)), listed)


def find_lost_blobs(connection: Connection, image: StoredImage) -> dict[str, str]:
    """What the registry has not any more of an image's configurations and layers, or with another size, by digest."""
    manifests = _read_manifests(connection, image)
    blobs = {blob.digest: blob for each in manifests for blob in (each.config, *each.layers)}
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        sizes = pool.map(lambda digest: has_blob(connection, digest), blobs)
        return {
            blob.digest: _describe_blob(blob, size, image.layers)
            for blob, size in zip(blobs.values(), sizes, strict=True)
            if size not in (blob.size, -1)
        }


def read_stored(connection: Connection, version: str | None = None) -> StoredImage | None:
    """The image of a connection's reference, or of another tag or digest of its repository."""
    reference = connection.reference.at(version or connection.reference.version)
    found = read_manifest(connection, reference.version)
    if found is None:
        return None
    digest, media_type, content = found
    where = str(reference)
    if media_type in INDEX_TYPES:
        chosen = _choose(parse_index(content, where).manifests, where)
        inner = _read_platform(connection, chosen, where)
    elif media_type in MANIFEST_TYPES:
        inner = content
    else:
        raise damaged(where, f"it is no image, but {media_type or 'of no media type'}")
    manifest = parse_manifest(inner, where)
    config = read_small(connection, manifest.config, where)
    layers = parse_layers(manifest, config, where)
    if layers is None:
        raise ForeignImageError(
            f"{where} was not pushed by serve: it does not say which files it holds", hint="name another tag"
        )
    return StoredImage(reference, digest, media_type, len(content), read_snapshot(layers, config, where), layers)


def _choose(manifests: Sequence[Descriptor], where: str) -> Descriptor:
    """This machine's platform, or the first: the models are the same for all."""
    images = [each for each in manifests if each.media_type in MANIFEST_TYPES]
    if not images:
        raise damaged(where, "its index names no image")
    own = _MACHINES.get(platform.machine())
    return next((each for each in images if each.platform.get("architecture") == own), images[0])


def _read_platform(connection: Connection, descriptor: Descriptor, where: str) -> bytes:
    found = read_manifest(connection, descriptor.digest)
    if found is None:
        raise damaged(where, f"the registry has no {descriptor.digest}, which its index names")
    return found[2]


def _read_manifests(connection: Connection, image: StoredImage) -> list[Manifest]:
    """Those of all platforms."""
    where = str(image.reference)
    found = read_manifest(connection, image.digest)
    if found is None or image.media_type not in INDEX_TYPES:
        contents = [found[2]] if found else []
    else:
        inner = parse_index(found[2], where).manifests
        contents = [_read_platform(connection, each, where) for each in inner if each.media_type in MANIFEST_TYPES]
    return [parse_manifest(content, where) for content in contents]


def _find_strangers(connection: Connection, image: StoredImage) -> Iterator[str]:
    """What nodes of other platforms would run, where it is not what was read here."""
    own = [layer.blob.digest for layer in image.layers]
    if any([blob.digest for blob in manifest.layers] != own for manifest in _read_manifests(connection, image)):
        yield "its platforms have different layers, and only those for this machine's were compared"


def _describe_blob(blob: Descriptor, size: int | None, layers: Sequence[StoredLayer]) -> str:
    titles = [layer.title for layer in layers if layer.blob.digest == blob.digest]
    name = f"layer {titles[0]}" if titles else "a configuration"
    if size is None:
        return f"{name} is missing: {blob.digest}"
    return f"{name} has {size} bytes, and its manifest says {blob.size}: {blob.digest}"
