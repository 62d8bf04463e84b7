"""Push a repository to a registry, as an image that Kubernetes mounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from serve_deploy.errors import DestinationError, VerificationError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.progress import Progress
from serve_deploy.stores.oci import (
    ForeignImageError,
    ImagePush,
    ImageReader,
    PushedImage,
    StoredImage,
    find_sharers,
    push_image,
    read_image,
    read_signatures,
)
from serve_deploy.stores.options import PushOptions
from serve_deploy.stores.push.pushed import Pushed, PushResult, describe_push, merge_models, require_base
from serve_deploy.stores.signing.signing import Signer, require_vouched, sign_snapshot
from serve_deploy.stores.snapshot import Snapshot
from serve_deploy.stores.transfer.contents import LocalFile
from serve_deploy.stores.transfer.sending import Action


def push_to_registry(
    options: PushOptions, contents: Sequence[LocalFile], signer: Signer | None, progress: Progress
) -> PushResult:
    """Make a repository the image that a tag names, sending only layers that the registry does not have.

    BaseChangedError and StoreChangedError where another push came first, as far as a registry lets that be known: it
    has no step that compares and names at once. DestinationError where the tag names an image that is none of serve's.
    """
    current = _read_current(options)
    require_base(options, current.snapshot if current else None)
    snapshot = merge_models(contents, options.models, current.snapshot if current else None)
    require_vouched(
        signer, snapshot, {each.file.path for each in contents}, current.snapshot if current else None,
        lambda: read_signatures(current) if current else (),
    )  # fmt: skip
    with _receiving_sharers(options, snapshot, contents, current, progress) as local:
        pushed = push_image(
            {each.file.path: each for each in local}, snapshot, options.store, current,
            ImagePush(
                concurrency=options.concurrency, dry_run=options.dry_run, progress=progress,
                only_from_current=options.base is not None or bool(options.models),
                signature=sign_snapshot(snapshot, signer) if signer and not options.dry_run else None,
            ),
        )  # fmt: skip
    previous = current.snapshot.id if current else None
    described = describe_push(
        options.store, "image", Pushed(snapshot, previous, _list_actions(pushed)),
        is_signed=signer is not None, is_dry_run=options.dry_run,
    )  # fmt: skip
    return replace(described, image=pushed.pinned, overtaken=pushed.overtaken)


@contextmanager
def _receiving_sharers(
    options: PushOptions,
    snapshot: Snapshot,
    contents: Sequence[LocalFile],
    current: StoredImage | None,
    progress: Progress,
) -> Iterator[Sequence[LocalFile]]:
    """Also what only the image has and shares a layer with pushed files: of many models, such layers are made anew."""
    missing = find_sharers(snapshot, {each.file.path for each in contents}, current)
    if current is None or not missing:
        yield contents
        return
    place = make_temporary("layers")
    try:
        folder = place / "models"
        ImageReader(options.store, current).receive(
            missing, folder, parts=place / "parts", local={}, concurrency=options.concurrency, progress=progress
        )
        yield (*contents, *(LocalFile(file, folder / file.path) for file in missing))
    finally:
        remove_temporary(place)


def _read_current(options: PushOptions) -> StoredImage | None:
    try:
        return read_image(options.store)
    except ForeignImageError as error:
        raise DestinationError(
            f"{options.store} is an image that serve did not push", hint="push to another tag, or remove this one"
        ) from error
    except VerificationError:
        # A push of all models needs nothing of a damaged one.
        if options.models or options.base is not None:
            raise
        return None


def _list_actions(pushed: PushedImage) -> dict[str, Action]:
    return {file.path: "send" if file.path in pushed.sent_paths else "keep" for file in pushed.snapshot.files}
