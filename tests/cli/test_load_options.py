"""Where to send requests, and how: headers, tokens and certificates, read into an endpoint or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_reports import make_point, make_report

from serve_cli.commands.loadtest import describe_failure
from serve_deploy.endpoint.address import TOKEN_VARIABLE, read_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.reports.point import ErrorKind, RequestData


def test_headers_and_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers keep their values whole; a token comes from its file, else from the environment."""
    monkeypatch.setenv(TOKEN_VARIABLE, "from the environment")
    (tmp_path / "token").write_text("from-a-file\n")
    with_file = read_endpoint("http://host", headers=(("X-A", "b: c"),), token_file=tmp_path / "token")
    assert with_file.headers == (("X-A", "b: c"), ("Authorization", "Bearer from-a-file"))
    assert read_endpoint("http://host").headers == (("Authorization", "Bearer from the environment"),)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://host", {"ca_file": Path("ca.pem")}, "does not use TLS"),
        ("https://host", {"key_file": Path("key.pem")}, "`key_file` needs `certificate_file`"),
        ("https://host", {"token_file": Path("missing")}, "`token_file=missing` cannot be read"),
        ("ftp://host", {}, "not an endpoint"),
    ],
)
def test_what_does_not_fit_the_endpoint_is_refused(url: str, options: dict[str, Any], message: str) -> None:
    """Options that the endpoint cannot use are usage errors, not ignored."""
    with pytest.raises(UsageError, match=message):
        read_endpoint(url, **options)


@pytest.mark.parametrize("header", ["nothing", "a: b\r\nc: d"])
def test_what_is_not_a_header_is_refused(serve: Callable[..., Any], header: str) -> None:
    """A header needs a name and a value on one line."""
    done = serve("loadtest", "http://host", "-m", "m", "-H", header)
    assert done.returncode == 2
    assert "is not a header" in done.stderr


@pytest.mark.parametrize(("origin", "is_hinted"), [("random", True), ("package", False)])
def test_random_data_that_no_model_took_is_named(origin: str, is_hinted: bool) -> None:
    """A model of pictures refuses random letters, and its samples are a flag away."""
    error = ErrorKind(kind="model", count=9, example="cannot identify image file")
    point = make_point(errors=(error,)).model_copy(update={"succeeded": 0})
    failure = describe_failure(make_report(point, data=RequestData(origin=origin, samples=1)))
    assert failure is not None
    assert ("random data was sent" in (failure.hint or "")) == is_hinted
