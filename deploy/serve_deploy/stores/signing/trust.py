"""Whose signatures a reader of a store accepts, and whether a snapshot carries one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.stores.options import TrustOptions
from serve_deploy.stores.signing.keys import fingerprint, hash_of, open_public_key
from serve_deploy.stores.signing.model_signature import (
    Bundle,
    MalformedSignatureError,
    encode_for_signing,
    read_bundle,
    read_statement,
)
from serve_deploy.stores.snapshot import Snapshot

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_HINT = "do not use it before you know who wrote it; whoever may sign it pushes it again, signed"


class SignatureError(VerificationError):
    """A snapshot is not signed as required."""


class Trust(Protocol):
    """Keys or an identity that are trusted."""

    def verify(self, content: bytes, bundle: Bundle) -> tuple[str, bytes]:
        """Who signed and the statement that is signed; SignatureError, without the snapshot's name, where none did."""


def open_trust(options: TrustOptions) -> Trust | None:
    """Whom to trust; None where no signature is required, UsageError for a file that is no public key."""
    if options.require_identity is None and options.require_issuer is None:
        keys = {path: open_public_key(path) for path in options.require_signature}
        return TrustedKeys(keys) if keys else None
    if options.require_signature:
        raise UsageError("`require_signature` and `require_identity` exclude each other", hint="give one of them")
    if not options.require_identity or not options.require_issuer:
        raise UsageError(
            "`require_identity` and `require_issuer` belong together: an identity means nothing without who issued it",
            hint="give both",
        )
    from serve_deploy.stores.signing.identities import TrustedIdentity

    return TrustedIdentity(options.require_identity, options.require_issuer)


def verify_signature(snapshot: Snapshot, bundle: bytes, trust: Trust) -> str:
    """Who signed the snapshot's list of files, such as "key.pub"; SignatureError where nobody trusted did."""
    try:
        signer, statement = trust.verify(bundle, read_bundle(bundle))
        _compare(snapshot, read_statement(statement))
    except MalformedSignatureError as error:
        raise SignatureError(f"the signature of snapshot {snapshot.id} {error}", hint=_HINT) from error
    return signer


def verify_any(snapshot: Snapshot, bundles: Sequence[bytes], trust: Trust) -> str:
    """Who signed, where one of several signatures is as required; SignatureError as for the first of them."""
    refusal = None
    for bundle in bundles:
        try:
            return verify_signature(snapshot, bundle, trust)
        except SignatureError as error:
            refusal = refusal or error
    raise refusal or SignatureError(f"snapshot {snapshot.id} is not signed", hint=_HINT)


def _compare(snapshot: Snapshot, signed: Mapping[str, tuple[str, int | None]]) -> None:
    """MalformedSignatureError where the signature is of other files than the snapshot lists."""
    files = {file.path: file for file in snapshot.files}
    if not files.keys() & signed.keys() or len(files) != len(snapshot.files):
        raise MalformedSignatureError("is of another snapshot")
    for path in sorted(files.keys() | signed.keys()):
        if path not in signed:
            raise MalformedSignatureError(f"does not list {path}")
        if path not in files:
            raise MalformedSignatureError(f"lists {path}, which the snapshot has not")
        sha256, size = signed[path]
        if sha256 != files[path].sha256:
            raise MalformedSignatureError(f"is of another {path}, by its sha256")
        if size not in (None, files[path].size_bytes):
            raise MalformedSignatureError(
                f"lists {path} with {size} bytes, and the snapshot with {files[path].size_bytes}"
            )


@dataclass(frozen=True)
class TrustedKeys:
    """Accepts what one of some public keys signed; they are called by the names of their files."""

    keys: Mapping[Path, EllipticCurvePublicKey]

    def verify(self, content: bytes, bundle: Bundle) -> tuple[str, bytes]:  # noqa: ARG002 - the other kind reads it
        """The key's file and the statement."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        payload = bundle.envelope.payload
        for path, key in self.keys.items():
            try:
                key.verify(bundle.envelope.signatures[0].sig, encode_for_signing(payload), ECDSA(hash_of(key)))
            except InvalidSignature:
                continue
            return path.name, payload
        raise MalformedSignatureError(self._explain(bundle))

    def _explain(self, bundle: Bundle) -> str:
        known = ", ".join(path.name for path in self.keys)
        if not bundle.is_by_key:
            return f"is by an identity, not by {known}"
        if any(fingerprint(key) == bundle.key_hint for key in self.keys.values()):
            return f"is not valid: it or what it signs was changed after {known} signed"
        return f"is by another key than {known}"
