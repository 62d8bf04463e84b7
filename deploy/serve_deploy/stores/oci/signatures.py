"""A signature beside an image: a referrer, by the registry's own list of them or by the tag that stands in for it."""

from __future__ import annotations

from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import (
    EMPTY,
    INDEX_TYPE,
    Blob,
    Descriptor,
    build_index,
    build_manifest,
    damaged,
    parse_index,
    parse_manifest,
)
from serve_deploy.stores.oci.downloading import read_manifest, read_small, read_tag
from serve_deploy.stores.oci.reading import StoredImage
from serve_deploy.stores.oci.reference import referrers_tag
from serve_deploy.stores.oci.uploading import send_small

SIGNATURE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MOST_SIGNATURES = 16


def write_signature(connection: Connection, index: Blob, bundle: bytes) -> None:
    """Attach a signature to an index that the registry has."""
    layer = Blob(bundle, SIGNATURE_TYPE)
    manifest = build_manifest(
        EMPTY.describe(), [layer.describe()], artifactType=SIGNATURE_TYPE, subject=index.describe()
    )
    for blob in (EMPTY, layer):
        send_small(connection, blob)
    answer = connection.request(
        "PUT", f"manifests/{manifest.digest}", "store a signature", expected=(201, 202),
        headers={"Content-Type": manifest.media_type}, data=manifest.content,
    )  # fmt: skip
    if "OCI-Subject" not in answer.headers:
        _list_by_tag(connection, index.digest, manifest)


def _list_by_tag(connection: Connection, digest: str, manifest: Blob) -> None:
    """For registries without a list of referrers: the distribution specification's tag, which clients keep."""
    tag = referrers_tag(digest)
    listed = [each for each in _read_listed(connection, tag) if each.digest != manifest.digest]
    described = [each.model_dump(by_alias=True, exclude_defaults=True) for each in listed]
    index = build_index([*described, manifest.describe(artifactType=SIGNATURE_TYPE)], {})
    if read_tag(connection, tag) != index.digest:
        connection.request(
            "PUT", f"manifests/{tag}", "list a signature", expected=(201, 202),
            headers={"Content-Type": INDEX_TYPE}, data=index.content,
        )  # fmt: skip


def read_signatures(image: StoredImage) -> tuple[bytes, ...]:
    """The signatures of an image, the newest last; VerificationError where one is not what its digest says."""
    with Connection(image.reference) as connection:
        listed = _read_referrers(connection, image.digest)
        signatures = [each for each in listed if each.artifact_type == SIGNATURE_TYPE]
        where = str(image.reference)
        return tuple(_read_bundle(connection, each, where) for each in signatures[-_MOST_SIGNATURES:])


def list_signatures(connection: Connection, digest: str) -> tuple[str, ...]:
    """The manifests of an image's signatures, and of the list of them where it lists nothing else."""
    listed = _read_referrers(connection, digest)
    signatures = tuple(each.digest for each in listed if each.artifact_type == SIGNATURE_TYPE)
    lists = read_tag(connection, referrers_tag(digest)) if len(signatures) == len(listed) else None
    return (*signatures, lists) if lists else signatures


def _read_referrers(connection: Connection, digest: str) -> tuple[Descriptor, ...]:
    expected, headers = (200, 404, 405), {"Accept": INDEX_TYPE}
    answer = connection.request("GET", f"referrers/{digest}", "read signatures", expected=expected, headers=headers)
    if answer.status_code == 200:
        return parse_index(answer.content, str(connection.reference.at(digest))).manifests
    return _read_listed(connection, referrers_tag(digest))


def _read_listed(connection: Connection, tag: str) -> tuple[Descriptor, ...]:
    found = read_manifest(connection, tag)
    return parse_index(found[2], str(connection.reference.at(tag))).manifests if found else ()


def _read_bundle(connection: Connection, descriptor: Descriptor, where: str) -> bytes:
    found = read_manifest(connection, descriptor.digest)
    layers = parse_manifest(found[2], where).layers if found else ()
    if len(layers) != 1:
        raise damaged(where, "its signature is not there, or not one")
    return read_small(connection, layers[0], where)
