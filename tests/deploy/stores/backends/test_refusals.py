"""What a broken setup is called, without any store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import BadStatusLine

import pytest
import requests
from botocore.exceptions import ReadTimeoutError
from store_servers import aws_environment, azure_environment, environment, gcs_environment

from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.azure_access import find_access
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.backends.s3_refusals import S3Refusals
from serve_deploy.stores.backends.words import ClockDifference, Words
from serve_deploy.stores.manifests.manifests import read_pointer
from serve_deploy.stores.oci.failures import describe_break
from serve_deploy.stores.oci.reference import ImageReference, writable_reference
from serve_deploy.stores.store import Store, StoreUnreachableError


@contextmanager
def listening(answer: bytes = b"") -> Iterator[int]:
    """The port of a server that says this to whatever it hears, and ends the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _peer = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1024)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def plain_server() -> Iterator[int]:
    """The port of a server that answers everything in plain HTTP."""
    with listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        yield port


def test_a_host_that_is_not_known_cannot_be_reached() -> None:
    """It is not called a connection that broke, which would be worth another try."""
    with pytest.raises(requests.ConnectionError) as broken:
        requests.get("http://nowhere.invalid", timeout=5)
    refusal = Words(parse_address("gs://bucket/models")).judge_requests(broken.value)
    assert "cannot be reached" in str(refusal.error)


def test_a_server_without_tls_is_not_called_untrusted(plain_server: int) -> None:
    """An authority would not help."""
    store = open_store(parse_address(f"s3://https://127.0.0.1:{plain_server}/bucket/models"))
    with aws_environment(), pytest.raises(EndpointError, match="does not speak https") as refused:
        read_pointer(store)
    assert "http://" in (refused.value.hint or "")


@pytest.fixture
def cut_server() -> Iterator[int]:
    """The port of a server that ends each connection before TLS has begun."""
    with listening() as port:
        yield port


@contextmanager
def a_store(kind: str, url: str) -> Iterator[Store]:
    """A store of each kind there."""
    address = {"s3": f"s3://{url}/bucket/models", "gs": "gs://bucket/models", "as": "as://account/container/models"}
    text = f"AccountName=account;AccountKey=a2V5;BlobEndpoint={url}"
    connection = {"AZURE_STORAGE_CONNECTION_STRING": text}
    with aws_environment(), gcs_environment(url), environment(("AZURE_",), connection):
        yield open_store(parse_address(address[kind]))


@pytest.mark.parametrize("kind", ["s3", "gs", "as"])
def test_a_connection_that_is_cut_below_tls_is_not_called_untrusted(cut_server: int, kind: str) -> None:
    """It is worth another try, and no authority would help."""
    with a_store(kind, f"https://127.0.0.1:{cut_server}") as store, pytest.raises(StoreUnreachableError) as refused:
        read_pointer(store)
    assert "broke" in refused.value.message


@pytest.mark.parametrize(("kind", "variable"), [("s3", "AWS_CA_BUNDLE"), ("gs", "REQUESTS_CA_BUNDLE")])
def test_a_file_of_authorities_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str, variable: str
) -> None:
    """With its variable."""
    with a_store(kind, "https://127.0.0.1:1") as store:
        monkeypatch.setenv(variable, "/nowhere/ca.pem")
        with pytest.raises(UsageError, match=f"{variable} names /nowhere/ca.pem"):
            read_pointer(store)


@pytest.mark.parametrize(
    ("seconds", "words"), [(86_400, "24 hours ahead of"), (-900, "15 minutes behind"), (20, "20 seconds ahead of")]
)
def test_a_wrong_clock_is_wrong_by_what_a_person_would_say(seconds: float, words: str) -> None:
    """A day is not 1,440 minutes."""
    assert str(ClockDifference(seconds)) == f"{words} the store's"


def test_a_server_that_is_silent_does_not_answer() -> None:
    """A connection that broke would be another matter."""
    address = parse_address("s3://https://silent.example/bucket/models")
    from_s3 = S3Refusals(address, ()).judge(ReadTimeoutError(endpoint_url="https://silent.example"), "read")
    from_others = Words(address).judge_requests(requests.ReadTimeout("Read timed out."))
    assert all("does not answer" in str(each.error) for each in (from_s3, from_others))


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (TimeoutError("_ssl.c:989: The handshake operation timed out"), "it does not answer"),
        (BadStatusLine("SSH-2.0-OpenSSH\r\n"), "ssh-2.0-openssh"),
    ],
)
def test_a_registry_that_is_none_is_named_in_one_line(cause: Exception, words: str) -> None:
    """Neither Python's source nor the other end's line breaks are shown."""
    error = describe_break(requests.ConnectionError(cause), ImageReference("host:1", "team/models", "v1"))
    assert error.message == f"cannot reach the registry host:1: {words}"


@pytest.mark.parametrize("version", [":snapshot-93f4c5bb6d8167fa", f"@sha256:{'a' * 64}"])
def test_what_never_changes_in_a_registry_is_not_pushed_to(version: str) -> None:
    """A rollback to a snapshot whose tag was moved would bring something else."""
    with pytest.raises(UsageError, match="names a") as refused:
        writable_reference(parse_address(f"oci://registry.example/team/models{version}"))
    assert "oci://registry.example/team/models:v1" in (refused.value.hint or "")


def test_what_cannot_be_a_bucket_is_named(plain_server: int) -> None:
    """And what can."""
    store = open_store(parse_address(f"s3://127.0.0.1:{plain_server}/my_b*cket/models"))
    with aws_environment(), pytest.raises(EndpointError, match="my_b\\*cket cannot be the name of a bucket") as refused:
        read_pointer(store)
    assert "3 to 63" in (refused.value.hint or "")


def test_what_is_no_connection_string_is_refused_and_not_repeated() -> None:
    """A key that was pasted in its place is a secret."""
    with (
        environment(("AZURE_",), {"AZURE_STORAGE_CONNECTION_STRING": "planted=="}),
        pytest.raises(UsageError, match="is not a connection string") as refused,
    ):
        find_access("account")
    assert "planted" not in f"{refused.value.message}{refused.value.hint}"


def test_a_connection_string_is_taken() -> None:
    """Azurite's, as its documents write it."""
    with azure_environment("http://127.0.0.1:10000"):
        assert find_access("devstoreaccount1").url == "http://127.0.0.1:10000/devstoreaccount1"
