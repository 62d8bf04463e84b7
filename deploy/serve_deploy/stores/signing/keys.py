"""Keys that sign and verify: PEM files of elliptic curve keys, as OpenSSF Model Signing has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

KEY_HINT = "make a pair with `openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes256 -out key.pem` and"
KEY_HINT += " `openssl ec -in key.pem -pubout -out key.pub`"
_CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}


def open_private_key(path: Path, passphrase: Callable[[Path], str]) -> EllipticCurvePrivateKey:
    """The private key in a PEM file; `passphrase` is called only where it is encrypted.

    UsageError where it is no such key, or the passphrase is wrong.
    """
    _require_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)
    if b"PUBLIC KEY" in content and b"PRIVATE KEY" not in content:
        raise UsageError(f"{path} is a public key", hint="sign with the private key; the public one is for readers")
    key: object
    try:
        key = load_pem_private_key(content, None)
    except TypeError:  # what cryptography raises where a passphrase is needed
        key = _decrypt(path, content, passphrase(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a private key in PEM form", hint=KEY_HINT) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise UsageError(f"{path} is not an elliptic curve key", hint=KEY_HINT)
    _require_curve(path, key.curve.name)
    return key


def open_public_key(path: Path) -> EllipticCurvePublicKey:
    """The public key in a PEM file; UsageError where it is none."""
    _require_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    if b"PRIVATE KEY" in content:
        raise UsageError(
            f"{path} is a private key", hint="verify with the public one: `openssl ec -in key.pem -pubout -out key.pub`"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is not a public key in PEM form", hint=KEY_HINT) from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise UsageError(f"{path} is not an elliptic curve key", hint=KEY_HINT)
    _require_curve(path, key.curve.name)
    return key


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """The sha256 of the key's PEM form: what a bundle calls the key that signed it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def hash_of(key: EllipticCurvePublicKey) -> HashAlgorithm:
    """The hash that goes with the key's curve."""
    from cryptography.hazmat.primitives import hashes

    made: HashAlgorithm = getattr(hashes, _CURVES[key.curve.name])()
    return made


def _decrypt(path: Path, content: bytes, passphrase: str) -> object:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(content, passphrase.encode())
    except (ValueError, TypeError) as error:  # TypeError where it is empty
        raise UsageError(f"the passphrase of {path} is wrong") from error


def _require_curve(path: Path, curve: str) -> None:
    if curve not in _CURVES:
        raise UsageError(f"{path} is a key on the curve {curve}, which the format does not allow", hint=KEY_HINT)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


def _require_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise UsageError(
            "signatures need cryptography, which is not installed",
            hint=f"install it with `{install_command('sign')}`",
        ) from None
