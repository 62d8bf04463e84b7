"""S3: AWS, and every server that speaks it, through botocore."""

from __future__ import annotations

import hashlib
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import (
    Body,
    CorruptedError,
    Doing,
    Object,
    Page,
    Refusal,
    Sending,
    StrangeAnswerError,
)
from serve_deploy.stores.backends.s3_refusals import S3Refusals, code_of
from serve_deploy.stores.backends.sources import Part
from serve_deploy.stores.backends.words import require_authorities
from serve_deploy.stores.store import OnBytes, SmallFile, StoredFile, UnfinishedUpload

_PIECE_BYTES = 1 << 20
_MOST_PARTS = 10_000
_DELETE_AT_ONCE = 1000


@dataclass(frozen=True)
class _Receipt:
    number: int
    etag: str
    sha256: str | None

    def listed(self) -> dict[str, object]:
        checksum = {"ChecksumSHA256": self.sha256} if self.sha256 else {}
        return {"PartNumber": self.number, "ETag": self.etag, **checksum}


class S3Bucket:
    """A bucket of S3, asked once at a time; its client is made when it is first used."""

    errors: tuple[type[Exception], ...] = (
        BotoCoreError,
        ClientError,
        CorruptedError,
        StrangeAnswerError,
        KeyError,
        HTTPError,
    )
    part_bytes = 8 << 20
    # What a slow disk copies before the connection is given up; S3's own limit for one request is 5 GiB.
    copied_bytes = 512 << 20
    receiving_bytes = _PIECE_BYTES

    def __init__(self, address: StoreAddress) -> None:
        self._address = address
        self._name = address.location.partition("/")[0]
        self._lock = threading.Lock()
        self._made: Any = None
        self._secrets: tuple[str, ...] = ()
        self._knows_sha256 = False

    @property
    def keeps_conditions(self) -> bool:
        """Whether it is AWS itself."""
        return _is_aws(self._client)

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What a failed try means."""
        return S3Refusals(self._address, self._secrets).judge(error, doing)

    def list_page(self, prefix: str, start: str | None) -> Page:
        """Up to 1,000 objects whose keys begin so."""
        more = {"ContinuationToken": start} if start else {}
        answer = self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, **more)
        # A page for people may be taken for an empty list.
        if "Name" not in answer:
            raise StrangeAnswerError
        files = [
            StoredFile(each["Key"], each["Size"], _checksum(each), each["LastModified"].timestamp())
            for each in answer.get("Contents", ())
        ]
        return Page(files, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)

    def get(self, key: str) -> SmallFile | None:
        """A small object, or None."""
        try:
            answer = self._client.get_object(Bucket=self._name, Key=key)
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return None
            raise
        with closing(answer["Body"]) as stream:
            return SmallFile(stream.read(), _etag(answer))

    def put(self, key: str, content: bytes, *, expected: str | None) -> SmallFile:
        """Write where the object has that ETag, or where there is none."""
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": f'"{expected}"'}
        return self._put(key, content, condition)

    def put_always(self, key: str, content: bytes) -> SmallFile:
        """Write whatever is there."""
        return self._put(key, content, {})

    def _put(self, key: str, content: bytes, condition: Mapping[str, str]) -> SmallFile:
        answer = self._client.put_object(
            Bucket=self._name, Key=key, Body=content, **condition, **self._checksums(content)
        )
        return SmallFile(content, _etag(answer))

    def send(self, key: str, content: bytes, on_bytes: OnBytes) -> StoredFile:
        """Write an object whole; S3 refuses it where it is not what the checksums say."""
        checksums = self._checksums(content)
        body = Body(content, on_bytes, is_sent=False)
        answer = self._client.put_object(Bucket=self._name, Key=key, Body=body, **checksums)
        self._compare(answer, checksums, content)
        return StoredFile(key, len(content), _checksum(answer))

    def begin(self, key: str, size_bytes: int) -> Sending:
        """Begin a multipart upload."""
        answer = self._client.create_multipart_upload(Bucket=self._name, Key=key, ChecksumAlgorithm="SHA256")
        return Sending(key, answer["UploadId"], size_bytes)

    def send_part(self, sending: Sending, part: Part, on_bytes: OnBytes) -> object:
        """Send a part with its checksums."""
        checksums = self._checksums(part.content)
        answer = self._client.upload_part(
            Bucket=self._name, Key=sending.key, UploadId=sending.id, PartNumber=part.number,
            Body=Body(part.content, on_bytes, is_sent=False), **checksums,
        )  # fmt: skip
        self._compare(answer, checksums, part.content)
        return _Receipt(part.number, answer["ETag"], answer.get("ChecksumSHA256"))

    def finish(self, sending: Sending, receipts: Sequence[object]) -> StoredFile:
        """Make the object of its parts; where an earlier try did, find that out."""
        parts = [each.listed() for each in receipts if isinstance(each, _Receipt)]
        try:
            answer = self._client.complete_multipart_upload(
                Bucket=self._name, Key=sending.key, UploadId=sending.id, MultipartUpload={"Parts": parts}
            )
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            answer = self._client.head_object(Bucket=self._name, Key=sending.key)
            if not _etag(answer).endswith(f"-{len(parts)}") or answer["ContentLength"] != sending.size_bytes:
                raise
        return StoredFile(sending.key, sending.size_bytes, _checksum(answer))

    def abandon(self, sending: Sending) -> None:
        """Remove the parts."""
        try:
            self._client.abort_multipart_upload(Bucket=self._name, Key=sending.key, UploadId=sending.id)
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise

    def list_uploads(self, prefix: str) -> Sequence[UnfinishedUpload]:
        """Uploads in parts that were begun and not ended; S3 keeps them for ever."""
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._name, Prefix=prefix)
        return [
            UnfinishedUpload(each["Key"], each["UploadId"], each["Initiated"].timestamp(), self._measure(each))
            for page in pages
            for each in page.get("Uploads", ())
        ]

    def _measure(self, upload: Mapping[str, Any]) -> int:
        named = {"Bucket": self._name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        try:
            pages = self._client.get_paginator("list_parts").paginate(**named)
            return sum(part["Size"] for page in pages for part in page.get("Parts", ()))
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            return 0

    def copy(self, source: str, target: str, checksum: str) -> StoredFile | None:
        """Copy inside the bucket, a large object in parts."""
        try:
            head = self._client.head_object(Bucket=self._name, Key=source)
            if checksum and checksum != _checksum(head):
                return None
            origin = {"CopySource": {"Bucket": self._name, "Key": source}, "CopySourceIfMatch": f'"{_etag(head)}"'}
            if head["ContentLength"] > self.copied_bytes:
                answer = self._copy_parts(origin, target, head["ContentLength"])
            else:
                answer = self._client.copy_object(Bucket=self._name, Key=target, **origin)["CopyObjectResult"]
        except ClientError as error:
            if code_of(error) in ("NoSuchKey", "404", "PreconditionFailed"):
                return None
            raise
        return StoredFile(target, head["ContentLength"], _checksum(answer))

    def _copy_parts(self, origin: Mapping[str, Any], target: str, size: int) -> Mapping[str, Any]:
        place = {"Bucket": self._name, "Key": target}
        upload = self._client.create_multipart_upload(**place)["UploadId"]
        try:
            parts, length = [], max(self.copied_bytes, -(-size // _MOST_PARTS))
            for number, start in enumerate(range(0, size, length), 1):
                answer = self._client.upload_part_copy(
                    **place, **origin, UploadId=upload, PartNumber=number,
                    CopySourceRange=f"bytes={start}-{min(start + length, size) - 1}",
                )  # fmt: skip
                parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
            finished: Mapping[str, Any] = self._client.complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            self._client.abort_multipart_upload(**place, UploadId=upload)
            raise
        return finished

    def receive(self, key: str, start: int, end: int, tag: str | None, write: Callable[[bytes], None]) -> Object | None:
        """A range of one writing of an object."""
        condition = {"IfMatch": f'"{tag}"'} if tag else {}
        try:
            answer = self._client.get_object(Bucket=self._name, Key=key, Range=f"bytes={start}-{end - 1}", **condition)
        except ClientError as error:
            if code_of(error) == "InvalidRange" and start == 0:
                return Object(0, "")
            if code_of(error) == "NoSuchKey":
                return None
            raise
        with closing(answer["Body"]) as stream:
            for piece in stream.iter_chunks(_PIECE_BYTES):
                write(piece)
        total = answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
        return Object(int(total), _etag(answer))

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, a thousand with one request where the server knows that."""
        for start in range(0, len(keys), _DELETE_AT_ONCE):
            some = keys[start : start + _DELETE_AT_ONCE]
            try:
                answer = self._client.delete_objects(
                    Bucket=self._name, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            except ClientError as error:
                if code_of(error) not in ("NotImplemented", "MissingContentMD5", "InvalidArgument", "501"):
                    raise
                for key in some:
                    self._client.delete_object(Bucket=self._name, Key=key)
            else:
                if failed := answer.get("Errors"):
                    raise ClientError({"Error": failed[0]}, "DeleteObjects")

    def _checksums(self, content: bytes) -> dict[str, str]:
        """What S3 compares the content with; servers that do not know sha256 know MD5."""
        checksums = {"ChecksumSHA256": b64encode(hashlib.sha256(content).digest()).decode()}
        if not self._knows_sha256:
            checksums["ContentMD5"] = b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return checksums

    def _compare(self, answer: Mapping[str, Any], checksums: Mapping[str, str], content: bytes) -> None:
        """Compare what the store says that it holds with what was sent; servers that know no sha256 give an MD5."""
        if (stored := answer.get("ChecksumSHA256")) is not None:
            same = self._knows_sha256 = stored == checksums["ChecksumSHA256"]
        elif "ServerSideEncryption" not in answer and re.fullmatch("[0-9a-f]{32}", _etag(answer)):
            same = _etag(answer) == hashlib.md5(content, usedforsecurity=False).hexdigest()
        else:
            same = True
        if not same:
            raise CorruptedError

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make_client()
            return self._made

    def _make_client(self) -> Any:
        require_authorities("AWS_CA_BUNDLE")
        session = botocore.session.Session()
        credentials = session.get_credentials()
        if credentials:
            self._secrets = tuple(each for each in credentials.get_frozen_credentials() if isinstance(each, str))
        region = session.get_config_variable("region") or ("us-east-1" if self._address.endpoint else None)
        client = session.create_client(
            "s3",
            region_name=region,
            endpoint_url=self._address.endpoint,
            config=Config(
                signature_version=None if credentials else UNSIGNED,
                max_pool_connections=512,
                connect_timeout=10,
                read_timeout=60,
                # Tried again here, where Ctrl-C ends the wait.
                retries={"mode": "standard", "total_max_attempts": 1},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # A signature holds the sha256 of the content, which its checksum's header does, too.
                s3={"payload_signing_enabled": False},
                user_agent_extra="triton-serve",
            ),
        )
        client.meta.events.register("before-send.s3", _mark_sent)
        if not _is_aws(client):
            client.meta.events.register_last("before-parameter-build.s3", _follow_no_region)
        return client


def _is_aws(client: Any) -> bool:
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _follow_no_region(context: dict[str, Any], **_: object) -> None:
    # Of any redirection, such as to https, botocore asks in which region the bucket is, and of that one's again.
    context["s3_redirect"]["redirected"] = True


def _mark_sent(request: Any, **_: object) -> None:
    if isinstance(request.body, Body):
        request.body.is_sent = True


def _etag(answer: Mapping[str, Any]) -> str:
    if "ETag" not in answer:
        raise StrangeAnswerError
    return str(answer["ETag"]).strip('"')


def _checksum(answer: Mapping[str, Any]) -> str:
    return f"etag:{_etag(answer)}"
