"""Remove old snapshots from a registry: by when a push, or a naming, recorded that a tag was to name them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from serve_deploy.errors import UsageError, VerificationError
from serve_deploy.progress import Progress
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.policy import HeldSnapshot, JudgedSnapshots, SnapshotPolicy, judge_snapshots
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.manifests.manifests import EmptyStoreError
from serve_deploy.stores.oci.claims import CLAIM_SECONDS
from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.inventory import HeldImage, Inventory, read_inventory
from serve_deploy.stores.oci.logins import READ, REMOVE
from serve_deploy.stores.oci.namings import find_previous, read_namings
from serve_deploy.stores.oci.reading import read_stored
from serve_deploy.stores.oci.reference import ImageReference, read_reference, tagged_snapshot
from serve_deploy.stores.oci.removing import (
    Removal,
    begin_removal,
    give_up_removals,
    measure_freed,
    remove_image,
    require_deletion,
    take_over_removals,
)

AskReleases = Callable[[], tuple[Mapping[str, str], str]]
_NOTE = "the registry frees the space when it collects its garbage (docker-registry: registry garbage-collect)"


@dataclass(frozen=True)
class PrunedImages:
    """What was removed, or with a dry run would be; `size_bytes` of each is what the registry can free by it."""

    snapshots: tuple[HeldSnapshot, ...]
    kept: tuple[str, ...]
    releases: str
    note: str


def prune_images(
    address: StoreAddress, options: PruneOptions, progress: Progress, ask_releases: AskReleases
) -> PrunedImages:
    """Remove the snapshots of a repository that no tag and no release names, and that are not among the newest.

    UsageError where nothing was pushed there, DestinationError where the registry deletes nothing, EndpointError where
    it, or a cluster, cannot be asked.
    """
    reference = _read_repository(address)
    with Connection(reference, rights=READ if options.dry_run else REMOVE) as connection:
        return _Prune(connection, options, progress, ask_releases).run()


def _read_repository(address: StoreAddress) -> ImageReference:
    reference = read_reference(address)
    if reference.is_digest or tagged_snapshot(reference.version):
        raise UsageError(
            f"{address} names a snapshot, and prune judges all", hint=f"name the image: oci://{address.location}"
        )
    return reference


class _Prune:
    """One prune of one repository."""

    def __init__(
        self, connection: Connection, options: PruneOptions, progress: Progress, ask_releases: AskReleases
    ) -> None:
        self._connection = connection
        self._options = options
        self._progress = progress
        self._ask_releases = ask_releases
        self._now = 0.0

    def run(self) -> PrunedImages:
        self._progress(f"reading the tags of {self._connection.reference}")
        inventory = read_inventory(self._connection)
        # The records are by the registry's clock, too.
        self._now = self._connection.read_clock()
        images = {image.id: image for image in inventory.list_images()}
        if not images:
            repository = f"oci://{self._connection.reference.registry}/{self._connection.reference.repository}"
            raise EmptyStoreError(f"{repository} has no snapshot", hint=f"push one: serve push REPOSITORY {repository}")
        is_dry_run, named, said = self._options.dry_run, dict[str, str](), ""
        if not is_dry_run:
            require_deletion(self._connection)
        judged = self._judge(inventory, named)
        if judged.removable:
            found, said = self._ask_releases()
            named.update(found)
            judged = self._judge(inventory, named)
        removable = self._measure(inventory, [images[each.id] for each in judged.removable], judged.removable)
        if is_dry_run:
            return PrunedImages(removable, judged.kept, said, _NOTE if removable else "")
        removed, kept = self._remove(inventory, removable, named)
        return PrunedImages(removed, (*judged.kept, *kept), said, _NOTE if removed else "")

    def _judge(self, inventory: Inventory, named: Mapping[str, str]) -> JudgedSnapshots:
        """Tags count, and releases; what has no date, or was named just now, is left out of it."""
        images, namings = inventory.list_images(), read_namings(inventory.tags)
        ids = {digest: image.id for image in images for digest in image.digests}
        current = {ids.get(inventory.tags.get(self._connection.reference.version, ""))}
        for tag in {each.tag for each in namings}:
            if identity := ids.get(inventory.tags.get(tag, "")):
                current.add(find_previous(namings, tag, identity))
        judged = judge_snapshots(
            [_describe(image) for image in images if image.named_seconds is not None],
            SnapshotPolicy(self._options.keep, self._options.older_than_seconds),
            current=current, named=_find_names(inventory, images, named), now=self._now,
        )  # fmt: skip
        fresh = sorted(each.id for each in judged.removable if self._is_fresh(each))
        undated = [image.id for image in images if image.named_seconds is None and image.id not in current]
        return JudgedSnapshots(
            tuple(each for each in judged.removable if each.id not in fresh),
            (
                *judged.kept,
                *(f"snapshot {each}: it was named within the hour, and a push may not have ended" for each in fresh),
                *(f"snapshot {each}: nothing records when it was pushed" for each in undated),
            ),
        )  # fmt: skip

    def _is_fresh(self, snapshot: HeldSnapshot) -> bool:
        return snapshot.written_seconds is None or self._now - snapshot.written_seconds < CLAIM_SECONDS

    def _measure(
        self, inventory: Inventory, images: Sequence[HeldImage], snapshots: Sequence[HeldSnapshot]
    ) -> tuple[HeldSnapshot, ...]:
        freed = measure_freed(inventory, images, inventory.list_kept(images))
        return tuple(replace(each, files=self._count_files(each), size_bytes=freed[each.id]) for each in snapshots)

    def _count_files(self, snapshot: HeldSnapshot) -> int:
        try:
            image = read_stored(self._connection, f"snapshot-{snapshot.id}") if snapshot.is_complete else None
        except VerificationError:
            return 0
        return len(image.snapshot.files) if image else 0

    def _remove(
        self, inventory: Inventory, snapshots: Sequence[HeldSnapshot], named: Mapping[str, str]
    ) -> tuple[tuple[HeldSnapshot, ...], list[str]]:
        """Mark all, look again, and remove what still may go; what a killed prune left goes along."""
        images = {image.id: image for image in inventory.list_images()}
        left = take_over_removals(self._connection, inventory)
        marked: dict[str, Removal] = {}
        removed: list[HeldSnapshot] = []
        try:
            self._progress("marking what is to be removed")
            for each in snapshots:
                marked[each.id] = begin_removal(self._connection, images[each.id], inventory)
            if not (left or marked):
                return (), []
            again = read_inventory(self._connection, inventory.documents)
            going = [image for image in again.list_images() if image.id in self._list_removable(again, named, marked)]
            kept = again.list_kept(going)
            for removal in left:
                remove_image(self._connection, removal, kept)
            for each in snapshots:
                if each.id in {image.id for image in going}:
                    self._progress(f"removing snapshot {each.id}")
                    remove_image(self._connection, marked.pop(each.id), kept)
                    removed.append(each)
            return tuple(removed), [f"snapshot {each}: it was named, or removed, meanwhile" for each in marked]
        finally:
            give_up_removals(self._connection, marked.values())

    def _list_removable(self, inventory: Inventory, named: Mapping[str, str], marked: Collection[str]) -> set[str]:
        return {each.id for each in self._judge(inventory, named).removable if each.id in marked}


def _describe(image: HeldImage) -> HeldSnapshot:
    return HeldSnapshot(image.id, image.is_whole, image.named_seconds, 0, 0)


def _find_names(inventory: Inventory, images: Sequence[HeldImage], named: Mapping[str, str]) -> dict[str, str]:
    """What else names snapshots: tags, and releases, by their ID or by a digest of what they consist of."""
    found = {}
    for image in images:
        tags = [f"tag {tag}" for tag in inventory.find_names(image)]
        releases = [named[each] for each in (image.id, *inventory.list_parts(image.digests)) if each in named]
        if names := [*tags, *releases]:
            found[image.id] = names[0]
    return found
