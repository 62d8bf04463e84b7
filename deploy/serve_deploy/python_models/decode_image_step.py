"""The standard step decode_image: its settings, also from a preprocessor_config.json of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.errors import UsageError
from serve_deploy.python_models.preprocessor_config import read_preprocessor
from serve_deploy.python_models.sample_images import sample_images
from serve_deploy.python_models.settled_step import SettledStep
from serve_deploy.python_models.step_settings import StepSettings, read_json_beside, read_settings
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

_STEP = "decode_image"
_Edge = Annotated[int, Field(ge=1, le=16384)]
_Size = tuple[_Edge, _Edge]
_CHANNELS = {"rgb": 3, "bgr": 3, "grey": 1}
_TYPES = {"fp32": DataType.FP32, "fp16": DataType.FP16, "uint8": DataType.UINT8}


class DecodeImageSettings(StepSettings):
    """A value of 0 to 255 becomes (value × scale - mean) / std."""

    input: str = Field(default="image", description="the name of the input")
    output: str = Field(default="pixel_values", description="the name of the output")
    preprocessor: str | None = Field(
        default=None, description="a preprocessor_config.json, whose settings others here replace"
    )
    size: _Edge | _Size | None = Field(default=None, description="the shorter side, or [height, width], to resize to")
    crop: _Edge | _Size | None = Field(default=None, description="a side, or [height, width], to keep of the centre")
    pad: int | None = Field(
        default=None, ge=0, le=255, description="what to fill up `size` with, 0 to 255, where a picture keeps its shape"
    )
    crop_as: Literal["torchvision", "transformers"] = Field(default="torchvision", description="who rounds the centre")
    filter: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = Field(
        default="bilinear", description="Pillow's filter for resizing"
    )
    scale: float = Field(default=1 / 255, description="what values of 0 to 255 are multiplied by")
    mean: float | tuple[float, ...] = Field(default=0.0, description="a number, or one for each channel")
    std: float | tuple[float, ...] = Field(default=1.0, description="a number, or one for each channel")
    channels: Literal["rgb", "bgr", "grey"] = Field(default="rgb", description="which channels, in which order")
    layout: Literal["nchw", "nhwc"] = Field(default="nchw", description="where the channels stand")
    type: Literal["fp32", "fp16", "uint8"] = Field(default="fp32", description="the type of the pixels")
    max_pixels: int = Field(default=50_000_000, ge=1, description="the largest picture that is decoded")


def settle_decode_image(given: Mapping[str, object], folder: Path) -> SettledStep:
    """Without a fixed size of the result, each image is a request of its own."""
    settings = read_settings(DecodeImageSettings, _STEP, given)
    if settings.preprocessor is not None:
        config = read_json_beside(folder, settings.preprocessor, _STEP, "preprocessor")
        settings = read_settings(
            DecodeImageSettings, _STEP, {**read_preprocessor(config, settings.preprocessor), **given}
        )
    _check_values(settings)
    crop = (settings.crop, settings.crop) if isinstance(settings.crop, int) else settings.crop
    crop = settings.size if settings.pad is not None and isinstance(settings.size, tuple) else crop
    result = crop or (settings.size if isinstance(settings.size, tuple) else None)
    height, width = result or (-1, -1)
    channels, batch = _CHANNELS[settings.channels], -1 if result else 1
    files = (-1, 1) if result else (1,)
    dims = (channels, height, width) if settings.layout == "nchw" else (height, width, channels)
    inputs = (TensorSpec(settings.input, DataType.BYTES, files),)
    outputs = (TensorSpec(settings.output, _TYPES[settings.type], (batch, *dims)),)
    read = {
        **settings.model_dump(exclude={"preprocessor", "input", "output"}),
        "type": _TYPES[settings.type].numpy_name,
        "crop": crop,
    }
    samples = tuple({settings.input: image} for image in sample_images(batched=bool(result)))
    return SettledStep(ModelSignature(inputs, outputs), read, batches=bool(result), samples=samples)


def _check_values(settings: DecodeImageSettings) -> None:
    channels = _CHANNELS[settings.channels]
    for name in ("mean", "std"):
        values = getattr(settings, name)
        if isinstance(values, tuple) and len(values) not in (1, channels):
            raise UsageError(f"{_STEP}: `{name}` has {len(values)} values for {channels} channels")
        if name == "std" and 0 in (values if isinstance(values, tuple) else (values,)):
            raise UsageError(f"{_STEP}: `std` must not be 0")
    if settings.pad is not None and (settings.crop is not None or not isinstance(settings.size, tuple)):
        raise UsageError(f"{_STEP}: `pad` needs a `size` of [height, width], and no `crop`")
    plain = DecodeImageSettings()
    changed = [name for name in ("scale", "mean", "std") if getattr(settings, name) != getattr(plain, name)]
    if settings.type == "uint8" and changed:
        raise UsageError(
            f"{_STEP}: `{changed[0]}` has no meaning with `type: uint8`, whose values stay 0 to 255",
            hint="leave it out, or use `type: fp32`",
        )
