"""What people read where an object store refuses, and what they never read: credentials."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
from refusing_store import answering, azure_error, s3_error
from store_servers import (
    ACCESS_KEY,
    AZURE_ACCOUNT,
    AZURE_KEY,
    READER_KEY,
    READER_SECRET,
    SECRET_KEY,
    SESSION_TOKEN,
    aws_environment,
    azure_environment,
    environment,
    gcs_environment,
)

from serve_deploy.errors import DestinationError, EndpointError, ServeError, UsageError
from serve_deploy.extras import install_command
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.backends.secrets import without_secrets
from serve_deploy.stores.store import Store, StoreUnreachableError

SECRETS = (ACCESS_KEY, SECRET_KEY, READER_KEY, READER_SECRET, SESSION_TOKEN, AZURE_KEY)
NO_SERVER = "http://127.0.0.1:1"
LATE = {"Date": "50 minutes ago"}


def _dated(headers: Mapping[str, str]) -> dict[str, str]:
    """With a real date in the place of that in LATE, as of now."""
    date = formatdate(time.time() - 3000, usegmt=True)
    return {name: date if value == LATE["Date"] else value for name, value in headers.items()}


def _list(store: Store) -> object:
    return store.list_files("snapshots/")


def _write(store: Store) -> object:
    return store.write("current.json", b"{}", expected=None)


def _read(store: Store) -> object:
    return store.read("current.json")


def _copy(store: Store) -> object:
    return store.copy("one", "other")


def _refused(address: str, do: Callable[[Store], object] = _list, kind: type[ServeError] = EndpointError) -> str:
    """All that is said when this is refused."""
    with pytest.raises(kind) as caught:
        do(open_store(parse_address(address)))
    said = f"{caught.value} {caught.value!r} {caught.value.hint}"
    assert not [secret for secret in SECRETS if secret in said]
    # What a traceback would show with it.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return said


class TestRealServer:
    """SeaweedFS refuses these itself."""

    @pytest.fixture(autouse=True)
    def server(self, seaweed: str) -> Iterator[None]:
        """With its credentials."""
        self.url = seaweed
        with aws_environment():
            yield

    @pytest.mark.parametrize("do", [_list, _write])
    def test_a_bucket_that_is_not_there(self, do: Callable[[Store], object]) -> None:
        """It is named, and how to create it is told."""
        assert "there is no bucket nowhere" in _refused(f"s3://{self.url}/nowhere/x", do)

    def test_credentials_that_may_only_read(self) -> None:
        """The permission that is missing is named."""
        with aws_environment(key=READER_KEY, secret=READER_SECRET):
            assert "s3:PutObject" in _refused(f"s3://{self.url}/models/x", _write)

    def test_a_key_that_nobody_knows(self) -> None:
        """Which variables to look at."""
        with aws_environment(key="UNKNOWN"):
            said = _refused(f"s3://{self.url}/models/x")
        assert "does not take these credentials" in said
        assert "AWS_PROFILE" in said

    def test_a_secret_that_does_not_fit(self) -> None:
        """The same."""
        with aws_environment(secret="wrong/secret"):
            assert "does not take these credentials (SignatureDoesNotMatch)" in _refused(f"s3://{self.url}/models/x")

    def test_no_credentials_at_all(self) -> None:
        """Asked without any, as for a public bucket, and refused: how to give them."""
        with aws_environment(key=None):
            said = _refused(f"s3://{self.url}/models/x")
        assert "no AWS credentials were found" in said
        assert "AWS_ACCESS_KEY_ID" in said


@pytest.mark.parametrize(
    ("code", "status", "message", "headers", "said"),
    [
        ("RequestTimeTooSkewed", 403, "too large", LATE, "this machine's clock is 50 minutes ahead of the store's"),
        ("ExpiredToken", 400, "The provided token has expired.", {}, "the session token has expired"),
        ("AuthorizationHeaderMalformed", 400, "expecting 'eu-west-1'", {}, "in another region, eu-west-1"),
        ("AccessDenied", 403, "User: arn:aws:iam::1:user/x may not", {}, "listing it is not allowed: User: arn"),
        ("NewTrouble", 400, f"by {SECRET_KEY} here", {}, "it refused: by *** here (NewTrouble)"),
    ],
)
def test_answers_of_s3(code: str, status: int, message: str, headers: Mapping[str, str], said: str) -> None:
    """As AWS gives them."""
    with (
        answering(status, s3_error(code, message), _dated(headers)) as url,
        aws_environment(AWS_SESSION_TOKEN=SESSION_TOKEN),
    ):
        assert said in _refused(f"s3://{url}/models/x")


@pytest.mark.parametrize(("code", "status"), [("QuotaExceeded", 403), ("XMinioStorageFull", 507)])
def test_a_store_that_is_full(code: str, status: int) -> None:
    """It is the destination that has no room."""
    with answering(status, s3_error(code)) as url, aws_environment():
        assert "is full" in _refused(f"s3://{url}/models/x", kind=DestinationError)


@pytest.mark.parametrize(("code", "status"), [("SlowDown", 503), ("ConditionalRequestConflict", 409)])
def test_a_store_that_is_busy_is_worth_another_try(code: str, status: int) -> None:
    """And has been tried a few times; of two conditional writes at one instant AWS lets neither through."""
    with answering(status, s3_error(code)) as url, aws_environment():
        assert "too busy" in _refused(f"s3://{url}/models/x", _write, kind=StoreUnreachableError)


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_for_people_is_no_s3(status: int) -> None:
    """Neither an empty store nor a missing file."""
    page = answering(status, "<html><body>Console</body></html>", {"Content-Type": "text/html"})
    with page as url, aws_environment():
        assert "does not speak S3" in _refused(f"s3://{url}/models/x")


@pytest.mark.parametrize("do", [_read, _write, _copy])
def test_a_page_for_people_is_no_file(do: Callable[[Store], object]) -> None:
    """A console answers every request so."""
    page = answering(200, "<html><body>Console</body></html>", {"Content-Type": "text/html"})
    with page as url, aws_environment():
        assert "does not speak S3" in _refused(f"s3://{url}/models/x", do)


@pytest.mark.parametrize("do", [_list, _read, _copy])
@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_server_that_redirects_is_named(status: int, do: Callable[[Store], object]) -> None:
    """Such as a proxy that wants https; nothing of the rest of the address is said."""
    moved = {"Location": f"https://{ACCESS_KEY}@store.example/models?X-Amz-Signature={SESSION_TOKEN}"}
    with answering(status, "<html>Moved</html>", moved) as url, aws_environment():
        assert "redirects to https://store.example" in _refused(f"s3://{url}/models/x", do)


def test_what_a_policy_forbids_is_no_other_push() -> None:
    """Azure answers with the status of a blob that is there already."""
    said = "This operation is not permitted as the blob is immutable due to a policy."
    with answering(409, azure_error("BlobImmutableDueToPolicy", said)) as url, azure_environment(url):
        assert f"it refused: {said}" in _refused(f"as://{AZURE_ACCOUNT}/models/x", _write)


def test_an_empty_answer_is_no_list_of_google() -> None:
    """A proxy may answer so."""
    with answering(200) as url, gcs_environment(url):
        assert "what answers is not Google" in _refused("gs://models/x")


def test_a_page_for_people_is_no_blob() -> None:
    """A proxy may answer so."""
    page = answering(200, "<html><body>Sign in</body></html>", {"Content-Type": "text/html"})
    with page as url, azure_environment(url):
        assert "what answers is not Azure" in _refused("as://devstoreaccount1/models/x", _read)


@pytest.mark.parametrize(
    ("variables", "said"),
    [({"AWS_PROFILE": "missing"}, "profile (missing)"), ({"AWS_ACCESS_KEY_ID": "half"}, "AWS_SECRET_ACCESS_KEY")],
)
def test_credentials_that_cannot_be_used(variables: dict[str, str], said: str) -> None:
    """What is wrong with them."""
    with aws_environment(key=None, **variables):
        assert said in _refused("s3://https://127.0.0.1:1/models/x")


def test_secrets_of_a_file_are_not_said(tmp_path: Path) -> None:
    """Also where the server repeats them."""
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id=FROMAFILE1\naws_secret_access_key=from+file/2\n"
    )
    with (
        answering(400, s3_error("NewTrouble", "FROMAFILE1 and from+file/2")) as url,
        aws_environment(key=None, AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials")),
    ):
        assert "it refused: *** and ***" in _refused(f"s3://{url}/models/x")


@contextmanager
def _gcs(status: int, message: str, url: str | None = None) -> Iterator[None]:
    body = json.dumps({"error": {"code": status, "message": message}})
    with answering(status, body, {"Content-Type": "application/json"}) as here, gcs_environment(url or here):
        yield


@pytest.mark.parametrize(
    ("status", "message", "said"),
    [
        (401, "Anonymous caller does not have access", "no Google credentials were found"),
        (404, "The specified bucket does not exist.", "there is no bucket models"),
        (429, "Too many requests", "too busy"),
    ],
)
def test_answers_of_google(status: int, message: str, said: str) -> None:
    """As Google gives them."""
    with _gcs(status, message):
        assert said in _refused("gs://models/x")


def test_a_key_file_of_google_that_is_not_there() -> None:
    """It is named."""
    with environment(("GOOGLE_", "STORAGE_"), {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"}):
        assert "/nowhere/key.json" in _refused("gs://models/x")


@pytest.mark.parametrize(
    ("code", "status", "detail", "headers", "said"),
    [
        ("AuthenticationFailed", 403, "The MAC signature is not the same", {}, "does not take these credentials"),
        ("AuthenticationFailed", 403, "Request date header too old", LATE, "clock is 50 minutes ahead of the store's"),
        ("AuthenticationFailed", 403, "Signature not valid: Expiry [x]", {}, "the token has expired"),
        ("AuthorizationPermissionMismatch", 403, "", {}, "Storage Blob Data Reader"),
        ("ContainerNotFound", 404, "", {}, f"no container models in the account {AZURE_ACCOUNT}"),
        ("ServerBusy", 503, "", {}, "too busy"),
    ],
)
def test_answers_of_azure(code: str, status: int, detail: str, headers: Mapping[str, str], said: str) -> None:
    """As Azure gives them."""
    answer = answering(status, azure_error(code, "Refused.", detail), {**_dated(headers), "x-ms-error-code": code})
    with answer as url, azure_environment(url):
        assert said in _refused(f"as://{AZURE_ACCOUNT}/models/x")


def test_a_connection_string_of_another_account() -> None:
    """Both are named."""
    with azure_environment(NO_SERVER):
        assert "the store is in other" in _refused("as://other/models/x", kind=UsageError)


@pytest.mark.parametrize("address", [f"s3://{NO_SERVER}/models/x", "gs://models/x", f"as://{AZURE_ACCOUNT}/models/x"])
def test_nothing_listens(address: str) -> None:
    """Said after a few tries, and not after minutes."""
    with aws_environment(), gcs_environment(NO_SERVER), azure_environment(NO_SERVER):
        assert "cannot be reached" in _refused(address, kind=StoreUnreachableError)


@pytest.mark.parametrize(
    ("address", "module"), [("s3://models/x", "s3"), ("gs://models/x", "gcs"), ("as://account/models/x", "azure")]
)
def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, address: str, module: str) -> None:
    """How to install it."""
    monkeypatch.setitem(sys.modules, f"serve_deploy.stores.backends.{module}", None)
    store = parse_address(address)
    with pytest.raises(UsageError, match="needs a library that is not installed") as caught:
        open_store(store)
    assert install_command(store.kind) in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        "https://x.blob.core.windows.net/c?sv=1&sig=SECRET%2B1&se=2", "AccountName=a;AccountKey=SECRET==;Endpoint=b",
        "GET /x?X-Amz-Signature=SECRET&X-Amz-Security-Token=SECRET", "Authorization: Bearer SECRET.x.y",
        "http://user:SECRET@proxy:8080 refused", 'client_secret="SECRET"',
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_not_said(text: str) -> None:
    """Signed addresses, connection strings, tokens and passwords."""
    assert "SECRET" not in without_secrets(text)
    assert re.search(r"\*\*\*", without_secrets(text))


@pytest.mark.parametrize("text", ["http://127.0.0.1:9000/x cannot be reached", "s3://http://a.b:1/c is full"])
def test_other_words_stay(text: str) -> None:
    """A port is no password."""
    assert without_secrets(text) == text
