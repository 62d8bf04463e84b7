"""Fetch a model by its address, and keep what was fetched for as long as it is packaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.model_sources.addresses import HubAddress, SourceAddress, StoredAddress
from serve_deploy.model_sources.fetched import Fetched
from serve_deploy.progress import Progress


@contextmanager
def fetched(address: SourceAddress, progress: Progress) -> Iterator[Fetched]:
    """The model on this disk, until the block ends; what a library caches stays in its cache.

    UsageError where the library is not installed, EndpointError where the source does not answer or refuses,
    InvalidModelError where it has no such model, or none that can be packaged.
    """
    if isinstance(address, HubAddress):
        from serve_deploy.model_sources.hub import fetch_from_hub

        yield fetch_from_hub(address, progress)
        return
    folder = make_temporary("source")
    try:
        if isinstance(address, StoredAddress):
            from serve_deploy.model_sources.stored import fetch_from_store

            yield fetch_from_store(address, folder, progress)
        else:
            from serve_deploy.model_sources.mlflow_registry import fetch_from_registry

            yield fetch_from_registry(address, folder, progress)
    finally:
        remove_temporary(folder)
