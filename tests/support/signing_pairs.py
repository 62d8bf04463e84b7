"""Pairs of keys as files, to sign snapshots with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


@dataclass(frozen=True)
class Pair:
    """A private key, its public key, and their files."""

    key: ec.EllipticCurvePrivateKey
    private: Path
    public: Path


def make_pair(folder: Path, name: str, curve: ec.EllipticCurve | None = None, passphrase: bytes | None = None) -> Pair:
    """A new pair as files."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Pair(key, private, public)
