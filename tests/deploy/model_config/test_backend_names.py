"""Backends and platforms that are almost right."""

from __future__ import annotations

import pytest

from serve_deploy.model_config.backend_names import find_backend


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("onnxruntme", "onnxruntime"),
        ("onnxruntime_onx", "onnxruntime"),
        ("tensorrt_plam", "tensorrt"),
        ("pytorch_libtorch", "pytorch"),
        ("trt", "tensorrt"),
        ("onnxruntime", None),
        ("our_own", None),
    ],
)
def test_the_backend_that_was_meant(written: str, meant: str | None) -> None:
    """A slip of the keys in either name, a platform or a nickname; a right one, or the user's own, is left alone."""
    assert find_backend(written) == meant
