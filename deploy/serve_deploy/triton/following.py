"""Follow a store: a folder that becomes what the store names, whenever that changes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.errors import ServeError
from serve_deploy.files.copying import link_tree
from serve_deploy.files.staging import destination_errors
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import PullOptions, TrustOptions
from serve_deploy.stores.pull.pull import pull_repository
from serve_deploy.stores.pull.readers import read_current
from serve_deploy.triton.options import ServerOptions

_LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class StoreNews:
    """What a look at the store brought: its current snapshot is in the folder, or `problem` says why it is not."""

    snapshot: str = ""
    problem: str = ""


class StoreFollower:
    """Keeps a folder as a store has it: what changed is pulled, each model whole."""

    def __init__(
        self,
        store: StoreAddress,
        folder: Path,
        *,
        snapshot: str,
        trust: TrustOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._folder, self._trust, self._clock = store, folder, trust, clock
        self._news = StoreNews(snapshot)
        self._looked = clock()

    def look(self) -> StoreNews | None:
        """Look, if it is time to, and pull; what to tell, where it is not what was told last."""
        if self._clock() - self._looked < _LOOK_SECONDS:
            return None
        try:
            news = StoreNews(self._update())
        except ServeError as error:
            news = StoreNews(self._news.snapshot, error.message)
        self._looked = self._clock()
        is_new, self._news = news != self._news, news
        return news if is_new else None

    def _update(self) -> str:
        current = read_current(self._store)
        if current is None or current.id == self._news.snapshot:
            return self._news.snapshot
        store = self._store if self._store.kind == "oci" else replace(self._store, snapshot=current.id)
        pulled = pull_repository(PullOptions(store=store, repository=self._folder, force=True, trust=self._trust))
        for model in pulled.kept:
            self._remove(model)
        return current.id

    def _remove(self, model: str) -> None:
        """Out of the server's sight first, and at once."""
        gone = self._folder.parent / "gone"
        with destination_errors(self._folder):
            (self._folder / model).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def following(
    options: ServerOptions, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[ServerOptions, StoreFollower | None]]:
    """The options for a server that is to follow the store that its repository came from, in a folder of its own.

    As they are where it is not to.
    """
    store = options.pulled_from
    if store is None or not options.watch:
        yield options, None
        return
    place = make_temporary("following")
    try:
        folder = place / "models"
        link_tree(options.repository, folder)
        follower = StoreFollower(store, folder, snapshot=options.repository.name, trust=options.trust, clock=clock)
        yield replace(options, repository=folder), follower
    finally:
        remove_temporary(place)
