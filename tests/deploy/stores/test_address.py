"""Addresses of stores."""

from __future__ import annotations

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.stores.address import StoreAddress, is_store_address, parse_address

KNOWN = {
    "s3://bucket/models": StoreAddress("s3", "bucket/models"),
    "s3://bucket": StoreAddress("s3", "bucket"),
    "s3://bucket/a/models@0123456789abcdef": StoreAddress("s3", "bucket/a/models", snapshot="0123456789abcdef"),
    "s3://https://store.example:9000/bucket/models": StoreAddress("s3", "bucket/models", "https://store.example:9000"),
    "s3://http://store.example/bucket/models": StoreAddress("s3", "bucket/models", "http://store.example"),
    "gs://bucket/models": StoreAddress("gs", "bucket/models"),
    "as://account/container/models": StoreAddress("azure", "account/container/models"),
    "oci://registry.example/team/models:v1": StoreAddress("oci", "registry.example/team/models", snapshot="v1"),
    "oci://localhost:5000/models": StoreAddress("oci", "localhost:5000/models"),
    f"oci://localhost:5000/models@sha256:{'a' * 64}": StoreAddress(
        "oci", "localhost:5000/models", snapshot=f"sha256:{'a' * 64}"
    ),
    "folder/models": StoreAddress("local", "folder/models"),
    "/srv/models@0123": StoreAddress("local", "/srv/models", snapshot="0123"),
}


@pytest.mark.parametrize("text", KNOWN)
def test_an_address_is_read(text: str) -> None:
    """Triton's forms, OCI references and local folders."""
    assert parse_address(text) == KNOWN[text]


@pytest.mark.parametrize("text", KNOWN)
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    """What is printed can be typed again."""
    assert str(parse_address(text)) == text


def test_a_port_without_a_scheme_is_plain_http() -> None:
    """As Triton reads it."""
    assert parse_address("s3://localhost:9000/bucket/models") == parse_address(
        "s3://http://localhost:9000/bucket/models"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3://",
        "s3:///models",
        "s3://bucket/../models",
        "as://account",
        "ftp://host/x",
        "oci://models",
        "gs://a b/c",
        "s3:/bucket/models",
        "s3//bucket/models",
        "s3://localhost:9000",
        "s3://https://store.example",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """With the forms that are."""
    with pytest.raises(UsageError) as refused:
        parse_address(text)
    assert "s3://bucket/path" in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["s3://bucket/models@latest", "gs://bucket/models@", "as://a/c/m@93F4C5BB6D8167FA"])
def test_what_is_no_id_is_not_a_part_of_the_path(text: str) -> None:
    """A push would go to another path than was meant."""
    with pytest.raises(UsageError, match="is not a snapshot's id"):
        parse_address(text)


def test_a_snapshot_of_an_image_is_a_tag() -> None:
    """The other stores take an id after @."""
    with pytest.raises(UsageError, match="not the digest") as refused:
        parse_address("oci://registry.example/models@93f4c5bb6d8167fa")
    assert "oci://registry.example/models:snapshot-ID" in (refused.value.hint or "")


def test_a_password_is_refused_and_not_repeated() -> None:
    """It would end in logs."""
    with pytest.raises(UsageError) as refused:
        parse_address("s3://https://key:hunter2@host/bucket")
    assert "hunter2" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize("text", ["as://account/container/models?sv=1&sig=hunter2", "s3://b/m?X-Amz-Signature=hunter2"])
def test_a_query_is_refused_and_not_repeated(text: str) -> None:
    """The secret of a signed address is in it."""
    with pytest.raises(UsageError, match="query") as refused:
        parse_address(text)
    assert "hunter2" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize(("text", "remote"), [("s3://a/b", True), ("models", False), ("C://x", False)])
def test_only_known_schemes_are_remote(text: str, remote: bool) -> None:
    """A local path may contain anything."""
    assert is_store_address(text) is remote
