"""What to push, pull and name, how a push signs, and whose signatures a reader accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Made, Option
from serve_deploy.stores.address import StoreAddress, parse_address

_TRANSFER, _CHANGES, _SIGNATURE = "Transfer", "Changes", "Signature"
PASSPHRASE_VARIABLE = "SERVE_SIGN_PASSPHRASE"  # noqa: S105 - the name of the variable
_STORE_HELP = "A model store: a folder, s3://…, gs://…, as://… or oci://…"


@dataclass(frozen=True, kw_only=True)
class SigningOptions:
    """How a push signs its snapshot; not at all where neither is given."""

    sign_key: Annotated[
        Path | None,
        Option(
            f"Sign with this private key (PEM); its passphrase is read from {PASSPHRASE_VARIABLE}, or asked for.",
            metavar="FILE",
            group=_SIGNATURE,
        ),
    ] = None
    sign_keyless: Annotated[
        bool, Option("Sign with your identity, by sigstore: of the CI job, or by the browser.", group=_SIGNATURE)
    ] = False


@dataclass(frozen=True, kw_only=True)
class TrustOptions:
    """Whose signature a snapshot must carry; nobody's where nothing is given."""

    require_signature: Annotated[
        tuple[Path, ...],
        Option(
            "Refuse what is not signed by this public key (PEM); repeated, one of them is enough.",
            metavar="FILE",
            group=_SIGNATURE,
        ),
    ] = ()
    require_identity: Annotated[
        str | None,
        Option(
            "Refuse what sigstore does not vouch to be signed by this e-mail address or CI job.",
            metavar="IDENTITY",
            group=_SIGNATURE,
        ),
    ] = None
    require_issuer: Annotated[
        str | None,
        Option("Who issued that identity, such as https://accounts.google.com.", metavar="URL", group=_SIGNATURE),
    ] = None


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """Which repository goes to which store; all its models where none is named.

    `base` is what the store had of these models when the work on them began, sha256 by path as `of_models` tells: where
    another push changed them since, this one is refused.
    """

    repository: Annotated[Path, Option("A Triton model repository.", metavar="REPOSITORY")]
    store: Annotated[StoreAddress, Option(_STORE_HELP, metavar="STORE", read=parse_address)]
    models: Annotated[
        tuple[str, ...],
        Option("Only this model; the store's others stay as they are. Repeatable.", metavar="NAME", group=_CHANGES),
    ] = ()
    fixed: Annotated[
        bool,
        Option(
            "Keep one path for each model, for readers that know no snapshots; files change there one by one.",
            group=_CHANGES,
        ),
    ] = False
    delete: Annotated[
        bool, Option("With `fixed`: delete models and versions that the repository does not have.", group=_CHANGES)
    ] = False
    settle_seconds: Annotated[
        float,
        Option(
            "With `delete`: how long a model must be unchanged first; a reader may still be loading it.", group=_CHANGES
        ),
    ] = 60.0
    dry_run: Annotated[bool, Option("Show what would be sent, copied and deleted; do nothing.", group=_CHANGES)] = False
    signing: Annotated[SigningOptions, Made(SigningOptions)] = field(default_factory=SigningOptions)
    concurrency: Annotated[int, Option("How many files to send at once.", minimum=1, maximum=256, group=_TRANSFER)] = 8
    base: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class PullOptions:
    """Which store's snapshot comes into which folder; all its models where none is named."""

    store: Annotated[
        StoreAddress, Option(f"{_STORE_HELP}; @ID after it names a snapshot.", metavar="STORE", read=parse_address)
    ]
    repository: Annotated[Path, Option("The folder to write the repository into.", metavar="REPOSITORY")]
    models: Annotated[tuple[str, ...], Option("Only this model; repeatable.", metavar="NAME", group=_CHANGES)] = ()
    force: Annotated[bool, Option("Replace models whose files differ from the snapshot's.", group=_CHANGES)] = False
    dry_run: Annotated[bool, Option("Show what would be received, write nothing.", group=_CHANGES)] = False
    trust: Annotated[TrustOptions, Made(TrustOptions)] = field(default_factory=TrustOptions)
    concurrency: Annotated[
        int, Option("How many files to receive at once.", minimum=1, maximum=256, group=_TRANSFER)
    ] = 8


@dataclass(frozen=True, kw_only=True)
class SnapshotsOptions:
    """Which store's snapshots, and which of them to make current."""

    store: Annotated[StoreAddress, Option(_STORE_HELP, metavar="STORE", read=parse_address)]
    use: Annotated[str | None, Option("Make this snapshot the current one: an id, or how it begins.", metavar="ID")] = (
        None
    )
