"""Sign a snapshot: with a private key, or keyless, with the identity that sigstore vouches for."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from serve_deploy.errors import UsageError
from serve_deploy.stores.options import PASSPHRASE_VARIABLE, SigningOptions
from serve_deploy.stores.signing.keys import fingerprint, hash_of, open_private_key
from serve_deploy.stores.signing.model_signature import encode_for_signing, write_bundle, write_statement
from serve_deploy.stores.signing.trust import SignatureError, Trust, TrustedKeys, verify_any
from serve_deploy.stores.snapshot import Snapshot

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

# Asks on the terminal for the passphrase of the key that it is told.
AskPassphrase = Callable[[Path], str]


class Signer(Protocol):
    """Makes the bundle of a statement; `trust` accepts what it signed before, where that can be known."""

    @property
    def trust(self) -> Trust | None:
        """None where it is not known who will have signed."""

    def sign(self, statement: bytes) -> bytes:
        """The sigstore bundle, as JSON; EndpointError where sigstore does not answer."""


def open_signer(options: SigningOptions, ask_passphrase: AskPassphrase | None = None) -> Signer | None:
    """What signs, ready before anything is sent; None where no signature is wanted.

    UsageError for a key that cannot be used, a wrong passphrase, or a library that is missing.
    """
    if options.sign_key is not None and options.sign_keyless:
        raise UsageError("`sign_key` and `sign_keyless` exclude each other", hint="give one of them")
    if options.sign_keyless:
        from serve_deploy.stores.signing.identities import IdentitySigner

        return IdentitySigner()
    if options.sign_key is None:
        return None
    key = open_private_key(options.sign_key, lambda key: _find_passphrase(key, ask_passphrase))
    return _KeySigner(options.sign_key, key)


def sign_snapshot(snapshot: Snapshot, signer: Signer) -> bytes:
    """The signature of a snapshot's list of files, as a store keeps it."""
    return signer.sign(write_statement(snapshot))


def require_vouched(
    signer: Signer | None,
    snapshot: Snapshot,
    own: Collection[str],
    current: Snapshot | None,
    read_signatures: Callable[[], Sequence[bytes]],
) -> None:
    """SignatureError where a signed snapshot would take over files of the store that this signer has not signed.

    `own` are the paths that the pusher has. What the store says of the others, anybody may have written there.
    """
    taken = [file for file in snapshot.files if file.path not in own]
    if signer is None or not taken:
        return
    why = "who signs is not known before sigstore says it"
    if signer.trust is not None:
        try:
            if current is not None and {file.path for file in taken} <= {file.path for file in current.files}:
                verify_any(current, read_signatures(), signer.trust)
                return
            why = "the current snapshot does not list them all"
        except SignatureError as error:
            why = error.message
    models = ", ".join(sorted({file.model for file in taken}))
    raise SignatureError(
        f"a signature would vouch for what only the store has, of {models}: {why}",
        hint="pull the whole repository, look at it, and push all of it; or push without a signature",
    )


@dataclass(frozen=True)
class _KeySigner:
    path: Path
    key: EllipticCurvePrivateKey

    @property
    def trust(self) -> Trust:
        return TrustedKeys({self.path: self.key.public_key()})

    def sign(self, statement: bytes) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

        public = self.key.public_key()
        return write_bundle(
            statement, self.key.sign(encode_for_signing(statement), ECDSA(hash_of(public))), fingerprint(public)
        )


def _find_passphrase(key: Path, ask: AskPassphrase | None) -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given
    if ask is None:
        raise UsageError(f"{key} is encrypted", hint=f"set its passphrase in {PASSPHRASE_VARIABLE}")
    return ask(key)
