"""Execution accelerators: keys as Triton has them, and a shape profile from the samples."""

from __future__ import annotations

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.model_config.accelerators import Optimization, parse_optimization
from serve_deploy.model_config.optimization import with_shape_profile
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

IMAGE = TensorSpec("image", DataType.FP32, (-1, 3, -1, -1))


def profile(spec: TensorSpec, max_batch_size: int, *shapes: tuple[int, ...]) -> dict[str, str]:
    signature = ModelSignature((spec,), ())
    samples = [{spec.name: shape} for shape in shapes]
    return dict(with_shape_profile(Optimization("tensorrt"), signature, max_batch_size, samples).parameters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openvino", Optimization("openvino")),
        ("tensorrt", Optimization("tensorrt")),
        ("tensorrt:fp16", Optimization("tensorrt", {"precision_mode": "FP16"})),
        (
            "tensorrt:fp16,trt_engine_cache_enable=1",
            Optimization("tensorrt", {"precision_mode": "FP16", "trt_engine_cache_enable": "1"}),
        ),
    ],
)
def test_accelerators_are_read_as_written_on_the_command_line(text: str, expected: Optimization) -> None:
    """A precision, then Triton's own keys."""
    assert parse_optimization(text) == expected


@pytest.mark.parametrize(
    "text", ["magic", "openvino:fp16", "tensorrt:fp8", "tensorrt:trt_magic=1", "tensorrt:dla_core"]
)
def test_what_triton_would_refuse_is_refused(text: str) -> None:
    """An unknown key fails the load in Triton; here it fails at once."""
    with pytest.raises(UsageError):
        parse_optimization(text)


def test_the_profile_spans_the_samples_and_full_batches() -> None:
    """Smallest and largest sample, and the middle one in full batches as the best."""
    assert profile(IMAGE, 8, (1, 3, 64, 96), (1, 3, 128, 64), (1, 3, 96, 80)) == {
        "trt_profile_min_shapes": "image:1x3x64x64",
        "trt_profile_opt_shapes": "image:8x3x96x80",
        "trt_profile_max_shapes": "image:8x3x128x96",
    }


def test_without_batching_the_profile_is_the_samples_alone() -> None:
    """The first dim is then like any other."""
    assert profile(TensorSpec("x", DataType.FP32, (-1, 4)), 0, (2, 4), (6, 4)) == {
        "trt_profile_min_shapes": "x:2x4",
        "trt_profile_opt_shapes": "x:2x4",
        "trt_profile_max_shapes": "x:6x4",
    }


def test_fixed_shapes_and_missing_samples_have_no_profile() -> None:
    """One engine fits a fixed shape, and without samples nothing is known."""
    assert profile(TensorSpec("x", DataType.FP32, (2, 3)), 0, (2, 3)) == {}
    assert profile(IMAGE, 8) == {}


def test_a_profile_of_the_users_own_is_kept() -> None:
    """What was asked for is not replaced."""
    own = Optimization("tensorrt", {"trt_profile_min_shapes": "image:1x3x1x1"})
    assert with_shape_profile(own, ModelSignature((IMAGE,), ()), 8, [{"image": (1, 3, 2, 2)}]) == own


def test_names_that_the_profile_cannot_hold_are_refused() -> None:
    """TensorRT separates name and shape by a colon."""
    with pytest.raises(UsageError, match="separates names"):
        profile(TensorSpec("serving:0", DataType.FP32, (-1, 3)), 8, (1, 3))
