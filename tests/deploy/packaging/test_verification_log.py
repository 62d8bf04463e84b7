"""What Triton's log says of loading a model."""

from __future__ import annotations

from serve_deploy.packaging.verification import read_load_seconds

LOG = """\
I1231 23:59:59.500000 7 model_lifecycle.cc:472] "loading: a.b:1"
I1231 23:59:59.600000 7 model_lifecycle.cc:472] "loading: other:1"
I1231 23:59:59.900000 7 model_lifecycle.cc:839] "successfully loaded 'a.b'"
"""


def test_load_time_is_read_from_the_log() -> None:
    """From `loading` to `successfully loaded`, in seconds, of the model asked for."""
    assert read_load_seconds(LOG, "a.b") == 0.4


def test_a_log_without_the_model_gives_no_load_time() -> None:
    """A model that never loaded, or another one's lines, is 0."""
    assert read_load_seconds(LOG, "other") == read_load_seconds(LOG, "a-b") == 0
