"""What Triton's log says of loading a model."""

from __future__ import annotations

from serve_deploy.triton.log import read_models

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
