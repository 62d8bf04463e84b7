"""What Triton's log says of loading a model."""

from __future__ import annotations

import pytest

from serve_deploy.triton.log import read_models, read_unnoticed_crash

LOG = """\
I1231 23:59:59.500000 7 model_lifecycle.cc:472] "loading: a.b:1"
I1231 23:59:59.600000 7 model_lifecycle.cc:472] "loading: other:1"
I1231 23:59:59.900000 7 model_lifecycle.cc:839] "successfully loaded 'a.b'"
"""


def test_load_time_is_read_from_the_log() -> None:
    """From `loading` to `successfully loaded`, in seconds, of the model asked for."""
    assert read_models(LOG)["a.b"].load_seconds == 0.4


def test_a_model_that_still_loads_has_no_load_time() -> None:
    """Another model's end is not its own."""
    assert read_models(LOG)["other"].load_seconds == 0


_CRASH = "terminate called after throwing an instance of 'std::invalid_argument'\n  what():  stol\n"
_REPORTED = "E1126 12:00:53.1 1 model_lifecycle.cc:642] \"failed to load 'm' version 1: Internal: not healthy\"\n"


@pytest.mark.parametrize(
    ("log", "text"),
    [
        ("", None),
        (_CRASH, "what():  stol"),
        (_CRASH + _REPORTED, None),
        (_REPORTED + _CRASH, "what():  stol"),
        ("I1126 1 pb_stub.cc:2059]  Expected 9 arguments, found 3 arguments.\n", "Expected 9 arguments, found 3"),
        ("bash: -c: line 1: unexpected EOF\n", "bash: -c: line 1: unexpected EOF"),
    ],
)
def test_a_crash_counts_until_triton_reports_a_failed_model(log: str, text: str | None) -> None:
    """After that it goes on by itself."""
    assert read_unnoticed_crash(log) == text
