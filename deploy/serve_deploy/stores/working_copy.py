"""A temporary repository that starts from a store and is pushed back: what packages into a store works in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.errors import ServeError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.progress import Progress
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import (
    BaseChangedError,
    EmptyStoreError,
    find_layout,
    of_models,
    stored_path,
)
from serve_deploy.stores.options import PullOptions, PushOptions, SigningOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.pull.readers import open_reader
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.push.pushed import PushResult, require_root
from serve_deploy.stores.signing.signing import Signer, open_signer, require_vouched
from serve_deploy.stores.snapshot import Snapshot
from serve_deploy.stores.store import StoreChangedError

# Pushes of other models may come between; one of the same models ends it.
_ATTEMPTS = 5


@dataclass(frozen=True)
class WorkingCopy:
    """Some models of a store in a folder; `base` is the snapshot that they are from, None where it had none."""

    store: StoreAddress
    folder: Path
    base: Snapshot | None
    models: tuple[str, ...]
    progress: Progress

    def push(self, models: Collection[str], signing: SigningOptions) -> PushResult:
        """Make the folder's models, beside the others that the store has, its current snapshot.

        BaseChangedError where another push changed one of them meanwhile.
        """
        pushed = tuple(sorted({*self.models, *models}))
        options = PushOptions(
            repository=self.folder,
            store=self.store,
            models=pushed,
            fixed=self.store.kind != "oci" and find_layout(open_store(self.store)) == "fixed",
            base=of_models(self.base, pushed),
            signing=signing,
        )
        for _attempt in range(_ATTEMPTS - 1):
            try:
                return push_repository(options, self.progress)
            except BaseChangedError:
                raise
            except StoreChangedError:
                continue
        return push_repository(options, self.progress)

    def in_own_words(self, text: str) -> str:
        """What was said of the folder, with the store's address in it."""
        return text.replace(str(self.folder), str(self.store))


@contextmanager
def working_copy(
    store: StoreAddress, models: Collection[str], progress: Progress, *, signing: SigningOptions | None = None
) -> Iterator[WorkingCopy]:
    """These of a store's models, as far as it has them, in a folder that is gone afterwards; errors name the store.

    SignatureError where what is pushed will be signed, and what the store has is not signed by the same key.
    """
    require_root(store)
    signer = open_signer(signing or SigningOptions())
    place = make_temporary("repository")
    folder = place / "models"
    try:
        base = _read_vouched(store, signer)
        folder.mkdir()
        received = _receive(store, base, models, folder, progress) if base else ()
        copy = WorkingCopy(store, folder, base, received, progress)
        try:
            yield copy
        except ServeError as error:
            error.message = copy.in_own_words(error.message)
            error.args = (error.message,)
            error.hint = error.hint and copy.in_own_words(error.hint)
            raise
    finally:
        remove_temporary(place)


def _read_vouched(store: StoreAddress, signer: Signer | None) -> Snapshot | None:
    try:
        reader = open_reader(store)
    except EmptyStoreError:
        return None
    # What is received here would be the pusher's own, and signed.
    require_vouched(signer, reader.snapshot, (), reader.snapshot, reader.read_signatures)
    return reader.snapshot


def _receive(
    store: StoreAddress, base: Snapshot, models: Collection[str], folder: Path, progress: Progress
) -> tuple[str, ...]:
    """Those of the models that there are, and the members of the ensembles among them; their names."""
    # An image's tag may move meanwhile: the push finds that out.
    at_base = store if store.kind == "oci" else replace(store, snapshot=base.id)
    received: set[str] = set()
    while wanted := {name for name in base.models if name in models} - received:
        options = PullOptions(store=at_base, repository=folder, models=tuple(sorted(wanted)))
        pull_repository(options, progress)
        received |= wanted
        models = {member for name in wanted for member in read_model_folder(folder / name).members}
    return tuple(sorted(received))


def model_address(pushed: PushResult, model: str) -> str:
    """Where Triton can read a pushed model's folder."""
    if pushed.store.startswith("oci://"):
        return f"{pushed.store}#models/{model}"
    is_fixed = pushed.layout == "fixed"
    return f"{pushed.store}/{model}" if is_fixed else f"{pushed.store}/{stored_path(pushed.snapshot, model)}"
