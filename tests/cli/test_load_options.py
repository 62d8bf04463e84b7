"""The options of serve loadtest: read into what the library takes, or refused with what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serve_cli.commands.loadtest import read_loads, read_shape
from serve_cli.load_endpoint import TOKEN_VARIABLE, read_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.schedule import ClosedLoop, ConstantRate, PoissonRate, Ramp, Replay

NOTHING: dict[str, Any] = {"concurrency": None, "rate": None, "ramp": None, "replay": None}


@pytest.mark.parametrize(
    ("options", "poisson", "loads"),
    [
        ({}, False, (ClosedLoop(1),)),
        ({"concurrency": "1..4"}, False, (ClosedLoop(1), ClosedLoop(2), ClosedLoop(4))),
        ({"rate": "200"}, False, (ConstantRate(200),)),
        ({"rate": "100,200"}, True, (PoissonRate(100, 5), PoissonRate(200, 5))),
        ({"ramp": "10..50"}, False, (Ramp(10, 50),)),
    ],
)
def test_loads(options: dict[str, str], poisson: bool, loads: tuple[Any, ...]) -> None:
    """Each way to ask for a load becomes the points to measure."""
    assert read_loads(**{**NOTHING, **options}, poisson=poisson, seed=5) == loads


def test_recorded_arrivals_are_a_load(tmp_path: Path) -> None:
    """--replay reads its file."""
    path = tmp_path / "arrivals.txt"
    path.write_text("1\n3\n")
    assert read_loads(**{**NOTHING, "replay": path}, poisson=False, seed=0) == (Replay((0.0, 2.0), "arrivals.txt"),)


@pytest.mark.parametrize(
    ("options", "poisson", "message"),
    [
        ({"concurrency": "1", "rate": "2"}, False, "exclude each other"),
        ({"concurrency": "1"}, True, "--poisson needs a --rate"),
        ({"ramp": "5"}, False, "--ramp 5"),
    ],
)
def test_contradicting_loads_are_refused(options: dict[str, str], poisson: bool, message: str) -> None:
    """Two loads at once, or a distribution without a rate, are usage errors."""
    with pytest.raises(UsageError, match=message):
        read_loads(**{**NOTHING, **options}, poisson=poisson, seed=0)


def test_shapes() -> None:
    """The name may hold colons; the dims follow the last one."""
    assert read_shape("IN:3,224,224") == ("IN", (3, 224, 224))
    assert read_shape("input:0:5") == ("input:0", (5,))


@pytest.mark.parametrize("text", ["IN", "IN:", ":3", "IN:3,x", "IN:0", "IN:-1"])
def test_what_is_no_shape_is_refused(text: str) -> None:
    """The message quotes it, the hint shows one."""
    with pytest.raises(UsageError, match=f"--shape {text}"):
        read_shape(text)


def test_headers_and_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers keep their values whole; a token comes from its file, else from the environment."""
    monkeypatch.setenv(TOKEN_VARIABLE, "from the environment")
    (tmp_path / "token").write_text("from-a-file\n")
    with_file = read_endpoint("http://host", header=["X-A: b: c"], token_file=tmp_path / "token")
    assert with_file.headers == (("X-A", "b: c"), ("Authorization", "Bearer from-a-file"))
    assert read_endpoint("http://host").headers == (("Authorization", "Bearer from the environment"),)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://host", {"header": ["nothing"]}, "not a header"),
        ("http://host", {"header": ["a: b\r\nc: d"]}, "not a header"),
        ("http://host", {"ca_cert": Path("ca.pem")}, "does not speak TLS"),
        ("https://host", {"key": Path("key.pem")}, "--key needs a --cert"),
        ("https://host", {"token_file": Path("missing")}, "--token-file missing"),
        ("ftp://host", {}, "not an endpoint"),
    ],
)
def test_what_does_not_fit_the_endpoint_is_refused(url: str, options: dict[str, Any], message: str) -> None:
    """Options that the endpoint cannot use are usage errors, not ignored."""
    with pytest.raises(UsageError, match=message):
        read_endpoint(url, **options)
