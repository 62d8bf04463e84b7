"""Who works on a snapshot of a repository: a push or a naming claims it, or prune removes it, and never both.

Each first puts a tag of its own, and then looks for the other's: of two at once, at least one sees the other, as far as
the registry lists a tag once it is there.
"""

from __future__ import annotations

from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import Blob
from serve_deploy.stores.oci.downloading import list_tags
from serve_deploy.stores.oci.namings import naming_tag, read_namings, read_removals
from serve_deploy.stores.oci.uploading import put_manifest
from serve_deploy.stores.store import StoreChangedError

# After so long, by the registry's clock, whoever put it is taken for dead.
CLAIM_SECONDS = 3600.0


def is_recorded(connection: Connection, snapshot: str, tag: str) -> bool:
    """Whether it is known when a snapshot was named by a tag."""
    return any(each.snapshot == snapshot and each.is_by(tag) for each in read_namings(list_tags(connection)))


def claim_image(connection: Connection, image: Blob, snapshot: str, tag: str) -> None:
    """Record that a tag is about to name an image that is there whole; StoreChangedError where a prune removes it."""
    now = connection.read_clock()
    put_manifest(connection, image, naming_tag(now, snapshot, tag))
    for removal in read_removals(list_tags(connection)):
        if removal.snapshot == snapshot and removal.seconds > now - CLAIM_SECONDS:
            raise StoreChangedError(
                f"{connection.reference}: snapshot {snapshot} is being removed by serve prune",
                hint="run this again when it has ended; an interrupted one gives way after an hour",
            )
