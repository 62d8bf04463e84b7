"""Models that stand in a store, brought onto this machine before a command runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from serve_cli import output
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import TrustOptions


def bring(store: StoreAddress, trust: TrustOptions, models: Collection[str] = ()) -> Path:
    """A folder with the snapshot that an address names, or with what some models take, from the cache."""
    from serve_deploy.stores.pull.cache import pull_models_into_cache
    from serve_deploy.stores.signing.trust import open_trust

    with output.progress() as progress:
        return pull_models_into_cache(store, models, trust=open_trust(trust), progress=progress)
