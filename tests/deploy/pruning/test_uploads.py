"""What a killed push leaves of large files in S3 is found and removed by prune, and nothing else is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import botocore.session
import pytest
from pushing import push
from repositories import add_model
from store_servers import aws_environment, make_s3_bucket, running_seaweed

from serve_deploy.errors import EndpointError
from serve_deploy.progress import silent
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import PruneResult, prune
from serve_deploy.pruning.uploads import prune_uploads
from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.backends.local import LocalStore
from serve_deploy.stores.store import UnfinishedUpload

_PART = b"x" * (5 << 20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 with a bucket."""
    with running_seaweed(tmp_path_factory.mktemp("s3") / "server") as url, aws_environment():
        make_s3_bucket(url, "models")
        yield url


@pytest.fixture
def client(server: str) -> Any:
    """botocore's own."""
    return botocore.session.Session().create_client("s3", endpoint_url=server, region_name="us-east-1")


def begin(client: Any, store: StoreAddress, path: str) -> None:
    """Begin an upload and send a part of it, as a push does that is killed then."""
    key = {"Bucket": "models", "Key": f"{store.location.partition('/')[2]}/{path}"}
    upload = client.create_multipart_upload(**key)["UploadId"]
    client.upload_part(**key, UploadId=upload, PartNumber=1, Body=_PART)


def prune_after(days: float, store: StoreAddress, *, dry_run: bool = False) -> PruneResult:
    """Prune after some days."""
    options = PruneOptions(repository=store, ignore_releases=True, dry_run=dry_run)
    return prune(options, clock=lambda: time.time() + days * 24 * 3600)


def list_begun(client: Any, store: StoreAddress) -> list[str]:
    """The unfinished uploads below a store."""
    start = f"{store.location.partition('/')[2]}/"
    listed = client.list_multipart_uploads(Bucket="models", Prefix=start).get("Uploads", [])
    return sorted(each["Key"].removeprefix(start) for each in listed)


@pytest.mark.parametrize(
    ("fixed", "own", "other"),
    [
        (False, "snapshots/0123456789abcdef/digits/1/model.onnx", "backup/disk.img"),
        (True, "digits/2/model.onnx", "backup/disk.img"),
    ],
    ids=["snapshots", "fixed"],
)
def test_unfinished_uploads_go_after_a_day(
    server: str, client: Any, tmp_path: Path, fixed: bool, own: str, other: str
) -> None:
    """A dry run names them and what they take; a push that may go on keeps its own, and so does who is not serve."""
    store = parse_address(f"s3://{server}/models/{uuid4().hex}")
    add_model(tmp_path / "models")
    push(tmp_path / "models", store, fixed=fixed)
    begin(client, store, own)
    begin(client, store, other)
    assert prune_after(0.9, store).uploads == ()
    planned = prune_after(2, store, dry_run=True).uploads
    assert [(each.path, each.size_bytes) for each in planned] == [(own, len(_PART))]
    assert list_begun(client, store) == sorted((own, other))
    assert prune_after(2, store).uploads == planned
    assert list_begun(client, store) == [other]


def test_a_store_that_lists_no_uploads_is_pruned_all_the_same(tmp_path: Path) -> None:
    """The right to list them is one of its own; that nobody looked is said."""

    class Refusing(LocalStore):
        def list_uploads(self, _prefix: str) -> Sequence[UnfinishedUpload]:
            raise EndpointError("listing is not allowed")

    store = Refusing(StoreAddress("local", str(tmp_path)))
    judged = prune_uploads(store, None, 0.0, silent, dry_run=False)
    assert judged.kept == ("unfinished uploads, if there are any: listing is not allowed",)
