"""A snapshot's list of files as OpenSSF Model Signing 1.0 signs it: an in-toto statement in a sigstore bundle.

`model_signing verify` reads these bundles too. Each file has its size as an annotation, which the format leaves free.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from serve_deploy.stores.snapshot import SNAPSHOTS_FOLDER, Snapshot

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SUFFIX = ".sigstore.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"


class MalformedSignatureError(ValueError):
    """Why bytes are no signature of this format, as the end of a sentence that begins with what they are."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Signed(_Part):
    sig: Base64Bytes


class _Envelope(_Part):
    payload: Base64Bytes
    payload_type: str = Field(alias="payloadType")
    signatures: tuple[_Signed, ...]


class _PublicKey(_Part):
    hint: str | None = None


class _Material(_Part):
    public_key: _PublicKey | None = Field(default=None, alias="publicKey")


class Bundle(_Part):
    """A sigstore bundle as far as it is read here: the envelope, and which key signed it."""

    media_type: str = Field(alias="mediaType")
    material: _Material = Field(alias="verificationMaterial")
    envelope: _Envelope = Field(alias="dsseEnvelope")

    @property
    def is_by_key(self) -> bool:
        """Whether a key signed, and not an identity."""
        return self.material.public_key is not None

    @property
    def key_hint(self) -> str | None:
        """The fingerprint of the key that signed, where the bundle tells it."""
        return self.material.public_key.hint if self.material.public_key else None


class _Annotations(_Part):
    size_bytes: int | None = None


class _Resource(_Part):
    name: str
    algorithm: str
    digest: str
    annotations: _Annotations = _Annotations()


class _Predicate(_Part):
    resources: tuple[_Resource, ...]


class _Statement(_Part):
    type: str = Field(alias="_type")
    predicate_type: str = Field(alias="predicateType")
    predicate: _Predicate


def signature_path(snapshot_id: str) -> str:
    """Where a store keeps a snapshot's signature: beside its manifest."""
    return f"{SNAPSHOTS_FOLDER}/{snapshot_id}{SUFFIX}"


def write_statement(snapshot: Snapshot) -> bytes:
    """What is signed: every file by path, sha256 and size."""
    files = sorted(snapshot.files, key=lambda file: file.path)
    whole = hashlib.sha256(b"".join(bytes.fromhex(file.sha256) for file in files))
    statement = {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": snapshot.id, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": [
                {
                    "name": file.path,
                    "algorithm": "sha256",
                    "digest": file.sha256,
                    "annotations": {"size_bytes": file.size_bytes},
                }
                for file in files
            ],
        },
    }
    return json.dumps(statement, separators=(",", ":"), sort_keys=True).encode()


def encode_for_signing(payload: bytes) -> bytes:
    """The bytes that a key signs: DSSE's pre-authentication encoding, which binds the type to the payload."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def write_bundle(payload: bytes, signature: bytes, key_hint: str) -> bytes:
    """The bundle of a statement that a key signed."""
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key_hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=1).encode() + b"\n"


def read_bundle(content: bytes) -> Bundle:
    """The bundle in a file; MalformedSignatureError where it is cut short or another format."""
    try:
        bundle = Bundle.model_validate_json(content)
    except ValidationError as error:
        raise MalformedSignatureError(f"is damaged or no sigstore bundle{_where(error)}") from error
    if bundle.media_type != BUNDLE_TYPE:
        raise MalformedSignatureError("is a bundle of another version of the format")
    if bundle.envelope.payload_type != PAYLOAD_TYPE or len(bundle.envelope.signatures) != 1:
        raise MalformedSignatureError("is not of a signed list of files")
    return bundle


def read_statement(payload: bytes) -> Mapping[str, tuple[str, int | None]]:
    """The sha256 and the size of each file that a statement lists; call it after the signature was verified."""
    try:
        statement = _Statement.model_validate_json(payload)
    except ValidationError as error:
        raise MalformedSignatureError(f"signs something else than a list of files{_where(error)}") from error
    resources = statement.predicate.resources
    if statement.type != _STATEMENT_TYPE or statement.predicate_type != _PREDICATE_TYPE:
        raise MalformedSignatureError("signs something else than a list of files")
    if any(each.algorithm != "sha256" for each in resources):
        raise MalformedSignatureError("lists files by another digest than sha256")
    listed = {each.name: (each.digest, each.annotations.size_bytes) for each in resources}
    if len(listed) != len(resources):
        raise MalformedSignatureError("lists a file twice")
    return listed


def _where(error: ValidationError) -> str:
    place = ".".join(map(str, error.errors()[0]["loc"]))
    return f" (at {place})" if place else ""
