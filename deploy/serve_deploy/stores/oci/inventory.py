"""What the tags of a repository lead to: whose images they are, what these consist of, and which tags name them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from serve_deploy.stores.oci.connection import Connection
from serve_deploy.stores.oci.documents import SNAPSHOT_ANNOTATION, Document, parse_leniently
from serve_deploy.stores.oci.downloading import list_tags, read_manifest, read_tag
from serve_deploy.stores.oci.namings import read_namings, read_removals
from serve_deploy.stores.oci.reference import referrers_tag, snapshot_tag, tagged_snapshot

_CONCURRENCY = 8


@dataclass(frozen=True)
class HeldImage:
    """A snapshot that serve pushed: its images' digests (one as a rule), its own tags, and when it was named last.

    `is_whole` where it has the tag that keeps it, which a push puts when all else is there.
    """

    id: str
    digests: tuple[str, ...]
    tags: frozenset[str]
    named_seconds: float | None
    is_whole: bool


@dataclass(frozen=True)
class Inventory:
    """The digests that tags point to, and the documents of these and of what they consist of."""

    tags: Mapping[str, str]
    documents: Mapping[str, Document] = field(repr=False)

    def list_images(self) -> tuple[HeldImage, ...]:
        """The snapshots by id; an image that is called like one, and is none of serve's, is left out."""
        own: dict[str, set[str]] = {}
        times: dict[str, float] = {}
        for naming in read_namings(self.tags):
            own.setdefault(naming.snapshot, set()).add(naming.written)
            times[naming.snapshot] = naming.seconds
        for tag in self.tags:
            if identity := tagged_snapshot(tag):
                own.setdefault(identity, set()).add(tag)
        images = []
        for identity, tags in sorted(own.items()):
            mine = frozenset(tag for tag in tags if self._is_of(tag, identity))
            if mine:
                digests = tuple(sorted({self.tags[tag] for tag in mine}))
                images.append(
                    HeldImage(identity, digests, mine, times.get(identity), snapshot_tag(identity) in mine)
                )  # fmt: skip
        return tuple(images)

    def _is_of(self, tag: str, identity: str) -> bool:
        return self.documents[self.tags[tag]].annotations.get(SNAPSHOT_ANNOTATION) == identity

    def list_parts(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Those, and the manifests that they name, theirs too: an image before what it consists of."""
        found: dict[str, None] = {}
        after = list(digests)
        while after:
            found |= dict.fromkeys(after)
            inner = [each.digest for digest in after for each in self._document(digest).manifests]
            after = [digest for digest in inner if digest not in found]
        return tuple(found)

    def list_blobs(self, digests: Iterable[str]) -> dict[str, int]:
        """The sizes of what manifests hold, by digest."""
        documents = [self._document(digest) for digest in digests]
        blobs = [blob for each in documents for blob in (*each.layers, *([each.config] if each.config else []))]
        return {blob.digest: blob.size for blob in blobs}

    def _document(self, digest: str) -> Document:
        return self.documents.get(digest, Document())

    def find_names(self, image: HeldImage) -> tuple[str, ...]:
        """The tags that others gave to an image, or to a part of it."""
        parts = self.list_parts(image.digests)
        return tuple(tag for tag, digest in self.tags.items() if digest in parts and tag not in image.tags)

    def list_kept(self, removed: Collection[HeldImage]) -> frozenset[str]:
        """Every digest that a tag leads to but for those of these images; signatures of others, too."""
        own = {tag for image in removed for tag in image.tags}
        own |= {referrers_tag(digest) for image in removed for digest in image.digests}
        own |= {each.written for each in read_removals(self.tags)}
        return frozenset(self.list_parts(digest for tag, digest in self.tags.items() if tag not in own))


def read_inventory(connection: Connection, known: Mapping[str, Document] | None = None) -> Inventory:
    """Read what a repository's tags name; documents that are `known` are not read again. Empty where there is none."""
    documents: dict[str, Document] = dict(known or {})
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        listed = list_tags(connection)
        found = zip(listed, pool.map(lambda tag: read_tag(connection, tag), listed), strict=True)
        tags = {tag: digest for tag, digest in found if digest}
        missing = sorted({*tags.values()} - documents.keys())
        while missing:
            read = pool.map(lambda digest: read_manifest(connection, digest), missing)
            parsed = [parse_leniently(each[2]) if each else Document() for each in read]
            documents |= zip(missing, parsed, strict=True)
            missing = sorted({each.digest for document in parsed for each in document.manifests} - documents.keys())
    return Inventory(tags, documents)
