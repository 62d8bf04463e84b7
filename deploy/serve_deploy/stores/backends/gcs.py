"""Google Cloud Storage, through its own library."""

from __future__ import annotations

import io
import logging
import os
import threading
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import google.auth
import google_crc32c
import requests
from google.api_core.exceptions import GoogleAPIError, NotFound, from_http_response
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Blob, Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from urllib3.exceptions import HTTPError

from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import CorruptedError, Doing, Object, Page, Refusal, Sending
from serve_deploy.stores.backends.gcs_refusals import GcsRefusals
from serve_deploy.stores.backends.parallel import in_threads
from serve_deploy.stores.backends.sources import Digest, SourceStream
from serve_deploy.stores.backends.words import require_authorities
from serve_deploy.stores.store import OnBytes, SmallFile, StoredFile, UnfinishedUpload

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_LISTED = "items(name,size,crc32c,md5Hash,updated),nextPageToken"
_TIMEOUT_SECONDS = (10, 60)
_CHUNK_BYTES = 8 << 20
_PIECE_BYTES = 256 << 10
_DELETES_AT_ONCE = 8
# A broken chunk of a large file is sent again by the library, which knows what has arrived of it.
_CHUNK_RETRY = DEFAULT_RETRY.with_delay(initial=0.1, maximum=4.0).with_timeout(20.0)
_ALWAYS: dict[str, Any] = {"timeout": _TIMEOUT_SECONDS, "retry": None}


class GcsBucket:
    """A bucket of Google Cloud Storage, asked once at a time; its client is made when it is first used."""

    # Of an answer that is none of Google's, the library says AttributeError.
    errors: tuple[type[Exception], ...] = (
        GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, CorruptedError, requests.RequestException,
        HTTPError, AttributeError,
    )  # fmt: skip
    receiving_bytes = 1 << 20
    # A chunk, and the request that is made of it.
    sending_bytes = 2 * _CHUNK_BYTES
    keeps_conditions = True

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._name = address.location.partition("/")[0]
        self._lock = threading.Lock()
        self._made: Client | None = None
        self._session: Any = None
        self._is_anonymous = False

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What a failed try means."""
        return GcsRefusals(self._address, self._is_anonymous).judge(error, doing)

    def list_page(self, prefix: str, start: str | None) -> Page:
        """Up to 1,000 objects whose names begin so."""
        found = self._client.list_blobs(
            self._name, prefix=prefix, page_token=start, page_size=1000, fields=_LISTED, **_ALWAYS
        )
        blobs = list(next(found.pages, ()))
        return Page([_describe(blob) for blob in blobs], found.next_page_token)

    def get(self, key: str) -> SmallFile | None:
        """A small object, or None."""
        blob = self._blob(key)
        try:
            content = blob.download_as_bytes(**_ALWAYS)
        except NotFound as error:
            if _is_bucket_missing(error):
                raise
            return None
        return SmallFile(content, str(blob.generation))

    def put(self, key: str, content: bytes, *, expected: str | None) -> SmallFile:
        """Write where the object has that generation, or where there is none."""
        return self._put(key, content, 0 if expected is None else int(expected))

    def put_always(self, key: str, content: bytes) -> SmallFile:
        """Write whatever is there."""
        return self._put(key, content, None)

    def _put(self, key: str, content: bytes, generation: int | None) -> SmallFile:
        blob = self._blob(key)
        blob.upload_from_file(
            io.BytesIO(content), size=len(content), if_generation_match=generation, checksum="crc32c", **_ALWAYS
        )
        return SmallFile(content, str(blob.generation))

    def new_digest(self) -> Digest:
        """Google's CRC32C."""
        digest: Digest = google_crc32c.Checksum()  # type: ignore[no-untyped-call]
        return digest

    def send_stream(self, key: str, stream: SourceStream) -> StoredFile:
        """Write an object; Google compares its CRC32C with that of what the library read."""
        blob = self._blob(key, chunk_size=_CHUNK_BYTES)
        blob.upload_from_file(
            stream, size=stream.size_bytes, checksum="crc32c", timeout=_TIMEOUT_SECONDS, retry=_CHUNK_RETRY
        )
        if blob.crc32c != b64encode(stream.store_digest.digest()).decode():
            raise CorruptedError
        return _describe(blob)

    def copy(self, source: str, target: str, checksum: str) -> StoredFile | None:
        """Copy inside the bucket, as often as Google asks for another round."""
        blob, origin, token = self._blob(target), self._blob(source), None
        try:
            origin.reload(**_ALWAYS)
            if checksum and checksum != _describe(origin).checksum:
                return None
            while True:
                token, _, _ = blob.rewrite(origin, token=token, if_source_generation_match=origin.generation, **_ALWAYS)
                if token is None:
                    return _describe(blob)
        except NotFound as error:
            if _is_bucket_missing(error):
                raise
            return None

    def receive(self, key: str, start: int, end: int, tag: str | None, write: Callable[[bytes], None]) -> Object | None:
        """A range of one generation of an object."""
        # The library's own download reads pieces of 8 KB, and does not say what a range is a range of.
        client, path = self._client, self._blob(key).path
        with self._session.get(
            f"{client.api_endpoint}/download/storage/v1{path}",
            params={"alt": "media", "ifGenerationMatch": tag or None},
            headers={"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "gzip"},
            stream=True,
            timeout=_TIMEOUT_SECONDS,
        ) as answer:
            if answer.status_code == 416 and start == 0:
                return Object(0, "")
            if not answer.ok:
                refusal = from_http_response(answer)  # type: ignore[no-untyped-call]
                if isinstance(refusal, NotFound) and not _is_bucket_missing(refusal):
                    return None
                raise refusal
            # As it is stored: what is compressed stays so.
            while piece := answer.raw.read(_PIECE_BYTES, decode_content=False):
                write(piece)
            said = answer.headers
            total = said.get("Content-Range", "").rpartition("/")[2] or said.get("Content-Length", 0)
            return Object(int(total), said.get("x-goog-generation", tag or ""))

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:  # noqa: ARG002 - Google forgets them itself
        """None."""
        return ()

    def abandon(self, sending: Sending) -> None:
        """Google removes what arrived of an upload after a week."""

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, several at once; Google counts those of a batch as single ones."""
        left = iter(keys)

        def work(_tell: OnBytes) -> str | None:
            if (key := next(left, None)) is not None:
                try:
                    self._blob(key).delete(**_ALWAYS)
                except NotFound as error:
                    if _is_bucket_missing(error):
                        raise
            return key

        in_threads(work, lambda _count: None, min(len(keys), _DELETES_AT_ONCE))

    def _blob(self, key: str, chunk_size: int | None = None) -> Blob:
        return self._client.bucket(self._name).blob(key, chunk_size=chunk_size)

    @property
    def _client(self) -> Client:
        with self._lock:
            if self._made is None:
                self._made = self._make_client()
            return self._made

    def _make_client(self) -> Client:
        require_authorities("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        credentials = None if os.environ.get("STORAGE_EMULATOR_HOST") else _find_credentials()
        if credentials is None:
            credentials, self._is_anonymous = AnonymousCredentials(), True  # type: ignore[no-untyped-call]
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        for scheme in ("https://", "http://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=512))
        self._session = session
        return Client(project=None, credentials=credentials, _http=session)


def _find_credentials() -> Any:
    # It warns that it knows no project, which objects do not need.
    logging.getLogger("google.auth._default").setLevel(logging.ERROR)
    try:
        return google.auth.default(scopes=[_SCOPE])[0]
    except DefaultCredentialsError:
        # A file that is named and cannot be used is not the same as none.
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise
        return None


def _describe(blob: Blob) -> StoredFile:
    # Objects that were composed have no MD5.
    checksum = f"md5:{blob.md5_hash}" if blob.md5_hash else f"crc32c:{blob.crc32c}"
    return StoredFile(blob.name, int(blob.size or 0), checksum, blob.updated.timestamp() if blob.updated else None)


def _is_bucket_missing(error: NotFound) -> bool:
    return "bucket does not exist" in str(error).lower()
