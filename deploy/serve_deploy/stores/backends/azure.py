"""Azure Blob Storage, through Microsoft's own library."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock

from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.azure_access import Access, find_access
from serve_deploy.stores.backends.azure_refusals import AzureRefusals
from serve_deploy.stores.backends.bucket import Doing, Object, Page, Refusal, Sending
from serve_deploy.stores.backends.parallel import in_threads
from serve_deploy.stores.backends.sources import Part
from serve_deploy.stores.backends.words import require_authorities
from serve_deploy.stores.store import OnBytes, SmallFile, StoredFile, UnfinishedUpload

_DELETES_AT_ONCE = 8
_COPY_SECONDS, _COPY_LOOK_SECONDS = 600.0, 0.2


class AzureContainer:
    """A container of a storage account, asked once at a time; its client is made when it is first used."""

    # Of an answer that is none of Azure's, the library says ValueError.
    errors: tuple[type[Exception], ...] = (AzureError, ValueError)
    part_bytes = 8 << 20
    # The library reads 4 MiB of a range at a time, and copies them.
    receiving_bytes = 12 << 20
    keeps_conditions = True

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._account, self._name = address.location.split("/")[:2]
        self._lock = threading.Lock()
        self._made: Any = None
        self._access: Access | None = None

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What a failed try means."""
        return AzureRefusals(self._address, self._access).judge(error, doing)

    def list_page(self, prefix: str, start: str | None) -> Page:
        """Up to 1,000 blobs whose names begin so."""
        listing = self._client.list_blobs(name_starts_with=prefix, include=["metadata"], results_per_page=1000)
        pages = listing.by_page(continuation_token=start)
        blobs = list(next(pages, ()))
        # Accounts with a hierarchy list its folders as blobs.
        files = [_describe(blob.name, blob) for blob in blobs if "hdi_isfolder" not in (blob.metadata or {})]
        return Page(files, pages.continuation_token or None)

    def get(self, key: str) -> SmallFile | None:
        """A small blob, or None."""
        try:
            stream = self._blob(key).download_blob()
        except ResourceNotFoundError as error:
            if _is_container_missing(error):
                raise
            return None
        return SmallFile(stream.readall(), _tag(stream.properties.etag))

    def put(self, key: str, content: bytes, *, expected: str | None) -> SmallFile:
        """Write where the blob has that ETag, or where there is none."""
        if expected is None:
            return self._put(key, content, overwrite=False)
        return self._put(
            key, content, overwrite=True, etag=f'"{expected}"', match_condition=MatchConditions.IfNotModified
        )

    def put_always(self, key: str, content: bytes) -> SmallFile:
        """Write whatever is there."""
        return self._put(key, content, overwrite=True)

    def _put(self, key: str, content: bytes, **conditions: Any) -> SmallFile:
        answer = self._blob(key).upload_blob(content, length=len(content), validate_content=True, **conditions)
        return SmallFile(content, _tag(answer["etag"]))

    def send(self, key: str, content: bytes, on_bytes: OnBytes) -> StoredFile:
        """Write a blob whole; Azure refuses it where it has another MD5."""
        on_bytes(0)
        written = self._put(key, content, overwrite=True)
        on_bytes(len(content))
        return StoredFile(key, len(content), f"etag:{written.tag}")

    def begin(self, key: str, size_bytes: int) -> Sending:
        """Blocks need no beginning, but names that no other upload gives."""
        return Sending(key, uuid4().hex, size_bytes)

    def send_part(self, sending: Sending, part: Part, on_bytes: OnBytes) -> object:
        """Send a block, which Azure refuses where it has another MD5."""
        on_bytes(0)
        name = b64encode(f"{sending.id}-{part.number:06d}".encode()).decode()
        self._blob(sending.key).stage_block(name, part.content, length=len(part.content), validate_content=True)
        on_bytes(len(part.content))
        return name

    def finish(self, sending: Sending, receipts: Sequence[object]) -> StoredFile:
        """Make the blob of its blocks."""
        blocks = [BlobBlock(block_id=str(name)) for name in receipts]
        answer = self._blob(sending.key).commit_block_list(blocks, validate_content=True)
        return StoredFile(sending.key, sending.size_bytes, f"etag:{_tag(answer['etag'])}")

    def abandon(self, sending: Sending) -> None:
        """Azure removes blocks that nothing names after a week."""

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:  # noqa: ARG002 - Azure forgets them itself
        """None."""
        return ()

    def copy(self, source: str, target: str, checksum: str) -> StoredFile | None:
        """Copy inside the account, which may take its time."""
        blob, origin = self._blob(target), self._blob(source)
        try:
            etag = _tag(origin.get_blob_properties().etag)
            if checksum and checksum != f"etag:{etag}":
                return None
            # A token lets in to the target alone. Where nothing does to the source, the library says that it is gone.
            token = f"?{self._access.token}" if self._access and self._access.token else ""
            blob.start_copy_from_url(
                f"{origin.url}{token}", source_etag=f'"{etag}"', source_match_condition=MatchConditions.IfNotModified
            )
            found = blob.get_blob_properties()
            deadline = time.monotonic() + _COPY_SECONDS
            while found.copy.status == "pending" and time.monotonic() < deadline:
                time.sleep(_COPY_LOOK_SECONDS)
                found = blob.get_blob_properties()
        except ResourceNotFoundError as error:
            if _is_container_missing(error):
                raise
            return None
        if found.copy.status == "pending":
            blob.abort_copy(found.copy.id)
        return _describe(target, found) if found.copy.status == "success" else None

    def receive(self, key: str, start: int, end: int, tag: str | None, write: Callable[[bytes], None]) -> Object | None:
        """A range of one writing of a blob."""
        condition = {"etag": f'"{tag}"', "match_condition": MatchConditions.IfNotModified} if tag else {}
        try:
            stream = self._blob(key).download_blob(offset=start, length=end - start, max_concurrency=1, **condition)
        except ResourceNotFoundError as error:
            if _is_container_missing(error):
                raise
            return None
        except HttpResponseError as error:
            if error.status_code == 416 and start == 0:
                return Object(0, "")
            raise
        for piece in stream.chunks():
            write(piece)
        total = stream.properties.content_range
        return Object(int(total.rpartition("/")[2]) if total else stream.size, _tag(stream.properties.etag))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove blobs, several at once."""
        left = iter(keys)

        def work(_tell: OnBytes) -> str | None:
            if (key := next(left, None)) is not None:
                try:
                    self._blob(key).delete_blob(delete_snapshots="include")
                except ResourceNotFoundError as error:
                    if _is_container_missing(error):
                        raise
            return key

        in_threads(work, lambda _count: None, min(len(keys), _DELETES_AT_ONCE))

    def _blob(self, key: str) -> Any:
        return self._client.get_blob_client(key)

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                require_authorities("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
                self._access = find_access(self._account)
                self._made = self._access.open_container(self._name)
            return self._made


def _describe(name: str, blob: Any) -> StoredFile:
    return StoredFile(name, int(blob.size), f"etag:{_tag(blob.etag)}", blob.last_modified.timestamp())


def _tag(etag: str) -> str:
    return str(etag).strip('"')


def _is_container_missing(error: ResourceNotFoundError) -> bool:
    return getattr(error, "error_code", None) == "ContainerNotFound"
