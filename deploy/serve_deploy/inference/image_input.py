"""A picture as the input of a model that takes images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command
from serve_deploy.inference.options import Scale
from serve_deploy.tensors.types import DataType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Mean and standard deviation of ImageNet's red, green and blue, from 0 to 1, as torchvision's models expect them.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageLayout:
    """What a model's input says of pictures: a size of -1 is free; without `channel_axis` they are grey [H, W]."""

    channels: int
    height: int
    width: int
    channel_axis: Literal[0, 2] | None

    @property
    def name(self) -> str:
        """NCHW, NHWC or HW."""
        return {0: "NCHW", 2: "NHWC", None: "HW"}[self.channel_axis]


def find_layout(dims: tuple[int, ...]) -> ImageLayout | None:
    """Read the layout from an input's dims without the batch axis; None where they do not fit a picture."""
    if len(dims) == 4 and dims[0] in (1, -1):
        dims = dims[1:]
    if len(dims) == 2:
        return ImageLayout(1, *dims, channel_axis=None)
    if len(dims) != 3:
        return None
    if dims[0] in _MODES:
        return ImageLayout(*dims, channel_axis=0)
    if dims[2] in _MODES:
        return ImageLayout(dims[2], dims[0], dims[1], channel_axis=2)
    return None


def read_image(path: Path, layout: ImageLayout, data_type: DataType, scale: Scale = "auto") -> tuple[Array, str]:
    """Decode, resize and scale a picture to [C, H, W], [H, W, C] or [H, W]; also say what was done."""
    import numpy as np

    image, done = _decode(path, layout)
    pixels = np.asarray(image)
    if scale == "auto":
        scale = "unit" if data_type.is_float else "none"
    values = pixels if scale == "none" else _scale(pixels, scale)
    if layout.channel_axis == 0:
        values = values[np.newaxis] if values.ndim == 2 else values.transpose(2, 0, 1)
    elif layout.channel_axis == 2 and values.ndim == 2:
        values = values[..., np.newaxis]
    done += f", {layout.name}, values " + {
        "none": "0 to 255", "unit": "0 to 1", "signed": "-1 to 1", "imagenet": "by ImageNet's mean and deviation",
    }[scale]  # fmt: skip
    return values.astype(data_type.numpy_name), done


def _decode(path: Path, layout: ImageLayout) -> tuple[Any, str]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise UsageError(
            "reading pictures needs Pillow", hint=f"{install_command('image')}, or give a .npy file"
        ) from error
    try:
        with Image.open(path) as opened:
            image = opened.convert(_MODES[layout.channels])
            mode, was = opened.mode, f"{path.name}: {opened.width}×{opened.height} {_mode_name(opened.mode)}"
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} cannot be read as a picture: {error}") from error
    size = (image.width if layout.width < 0 else layout.width, image.height if layout.height < 0 else layout.height)
    if size == image.size:
        return image, was if image.mode == mode else f"{was} as {_mode_name(image.mode)}"
    resized = image.resize(size, Image.Resampling.BILINEAR)
    return resized, f"{was} resized to {size[0]}×{size[1]} {_mode_name(image.mode)}"


def _mode_name(mode: str) -> str:
    return "grey" if mode == "L" else mode


def _scale(pixels: Array, scale: Scale) -> Array:
    import numpy as np

    values = pixels.astype(np.float32) / np.float32(255)
    if scale == "signed":
        return values * np.float32(2) - np.float32(1)
    if scale == "imagenet":
        if values.ndim != 3 or values.shape[2] != 3:
            raise UsageError("`image_scale=imagenet` needs a model that takes three channels")
        normalized: Array = (values - np.array(_IMAGENET_MEAN, np.float32)) / np.array(_IMAGENET_DEVIATION, np.float32)
        return normalized
    return values
