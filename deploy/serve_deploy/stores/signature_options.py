"""How a push signs, and whose signatures a reader accepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Option

PASSPHRASE_VARIABLE = "SERVE_SIGN_PASSPHRASE"  # noqa: S105 - the name of the variable
_GROUP = "Signature"


@dataclass(frozen=True, kw_only=True)
class SigningOptions:
    """How a push signs its snapshot; not at all where neither is given."""

    sign_key: Annotated[
        Path | None,
        Option(
            f"Sign with this private key (PEM); its passphrase is read from {PASSPHRASE_VARIABLE}, or asked for.",
            metavar="FILE",
            group=_GROUP,
        ),
    ] = None
    sign_keyless: Annotated[
        bool, Option("Sign with your identity, by sigstore: of the CI job, or by the browser.", group=_GROUP)
    ] = False


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """Whose signature a snapshot must carry; nobody's where nothing is given."""

    require_signature: Annotated[
        tuple[Path, ...],
        Option(
            "Refuse what is not signed by this public key (PEM); repeated, one of them is enough.",
            metavar="FILE",
            group=_GROUP,
        ),
    ] = ()
    require_identity: Annotated[
        str | None,
        Option(
            "Refuse what sigstore does not vouch to be signed by this e-mail address or CI job.",
            metavar="IDENTITY",
            group=_GROUP,
        ),
    ] = None
    require_issuer: Annotated[
        str | None,
        Option("Who issued that identity, such as https://accounts.google.com.", metavar="URL", group=_GROUP),
    ] = None
