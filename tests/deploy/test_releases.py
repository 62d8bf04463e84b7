"""Which model formats each Triton release reads."""

from __future__ import annotations

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.releases import DEFAULT_RELEASE, check_data_types, check_release, find_release, list_releases
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec


@pytest.mark.parametrize(
    ("name", "server", "onnxruntime"),
    [
        ("23.01", "2.30.0", "1.13.1"),
        ("24.10", "2.51.0", "1.19.2"),
        ("25.06", "2.59.0", "1.22.0"),
        ("25.08", "2.60.0", "1.23.0"),
        ("26.07", "2.71.0", "1.27.0"),
    ],
)
def test_knows_what_is_in_a_release(name: str, server: str, onnxruntime: str) -> None:
    """The server's and ONNX Runtime's versions of known containers."""
    release = find_release(name)

    assert (release.server_version, release.onnxruntime_version) == (server, onnxruntime)


def test_lists_every_release_once_with_limits_that_only_grow() -> None:
    """A newer release accepts whatever an older one does."""
    releases = list_releases()

    limits = [(r.max_ir_version, r.max_opset, r.max_ml_opset) for r in releases]
    assert limits == sorted(limits)
    assert len({r.server_version for r in releases}) == len(releases)


@pytest.mark.parametrize(("ir_version", "opset", "ml_opset"), [(10, 21, 5), (3, 7, 1)])
def test_accepts_what_the_release_reads(ir_version: int, opset: int, ml_opset: int) -> None:
    """At the limits and below there is nothing to say."""
    assert check_release("24.10", ir_version, {"ai.onnx": opset, "ai.onnx.ml": ml_opset}) is None


@pytest.mark.parametrize(
    ("ir_version", "opset", "words"),
    [(11, 21, "IR version 11 is above 10"), (10, 22, "opset 22 is above 21")],
)
def test_says_what_is_too_new_and_what_to_do(ir_version: int, opset: int, words: str) -> None:
    """The refusal names the limit, a release that would do, and the conversion."""
    refusal = check_release("24.10", ir_version, {"ai.onnx": opset})

    assert refusal is not None
    assert words in refusal.message
    assert "`release=25" in str(refusal.hint)
    assert "`fix=True`" in str(refusal.hint)


def test_says_where_no_release_would_do() -> None:
    """An opset of the future has no release to name."""
    refusal = check_release("26.07", 13, {"ai.onnx": 99})

    assert refusal is not None
    assert "no known release accepts it" in str(refusal.hint)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("latest", "not a Triton release"),
        ("24.13", "not a Triton release"),
        ("27.01", "newer than this version"),
        ("22.12", "older"),
    ],
)
def test_explains_an_unknown_release(name: str, words: str) -> None:
    """Typing errors, releases to come and old ones are told apart."""
    with pytest.raises(UsageError, match=words) as refusal:
        find_release(name)

    assert refusal.value.hint


def test_takes_an_image_tag_for_its_release() -> None:
    """24.10-py3 is 24.10."""
    assert find_release("24.10-py3").name == "24.10"


def test_refuses_bfloat16_before_it_was_served() -> None:
    """BF16 tensors need a release that serves them."""
    signature = ModelSignature((TensorSpec("x", DataType.BF16, (-1,)),), ())

    assert "'x' is BF16" in str(check_data_types("24.10", signature))
    assert check_data_types("26.03", signature) is None


def test_knows_the_default_release() -> None:
    """The default is one of the table."""
    assert find_release(DEFAULT_RELEASE).name == DEFAULT_RELEASE
