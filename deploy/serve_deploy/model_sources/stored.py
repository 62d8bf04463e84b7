"""Fetch a model file that lies in a bucket, with the external data of an ONNX file."""

from __future__ import annotations

from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.model_sources.addresses import StoredAddress
from serve_deploy.model_sources.companions import list_companions
from serve_deploy.model_sources.fetched import Fetched, called, write_size
from serve_deploy.origin import Origin
from serve_deploy.progress import Progress
from serve_deploy.stores.backends.opening import open_store


def fetch_from_store(address: StoredAddress, folder: Path, progress: Progress) -> Fetched:
    """The file in a folder that the caller clears away; EndpointError where the store refuses or has no such file."""
    store = open_store(address.store)

    def receive(name: str) -> Path:
        target = folder / name
        if not target.resolve().is_relative_to(folder.resolve()):
            raise InvalidModelError(f"{address} reads {name}, which lies outside its folder", hint="save it again")
        target.parent.mkdir(parents=True, exist_ok=True)
        received = 0

        def on_bytes(count: int) -> None:
            nonlocal received
            received += count
            progress(f"downloading {name} of {address.store}: {write_size(received)}")

        store.download(name, target, on_bytes)
        return target

    local = receive(address.name)
    with called(address, local):
        companions = list_companions(local)
    for companion in companions:
        receive(companion)
    return Fetched(local, Origin(asked=str(address), pinned=str(address)))
