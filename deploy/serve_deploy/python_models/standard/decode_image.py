"""Decode, resize, crop and scale images: what Triton runs as a standard step of serve. It needs Pillow."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

_Array = np.ndarray[Any, Any]
_SETTINGS = json.loads((Path(__file__).parent / "settings.json").read_text(encoding="utf-8"))
_MODE = {"rgb": "RGB", "bgr": "RGB", "grey": "L"}[_SETTINGS["channels"]]
_FILTER = Image.Resampling[_SETTINGS["filter"].upper()]
# Not EPS, for which Pillow starts another program, nor other rarities that only an attacker would send.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
Image.init()
_KNOWN = [name for name in _FORMATS if name in Image.OPEN]
Image.MAX_IMAGE_PIXELS = None  # max_pixels is the limit here, before anything is decoded
# Pillow decodes and resizes outside Python's lock.
_POOL = ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def decode_image(**inputs: _Array) -> _Array:
    """Files [N, 1] to pixels [N, C, H, W] or [N, H, W, C]; ValueError says which image is broken, and how."""
    (files,) = inputs.values()
    column = files.reshape(-1)
    return np.stack(list(_POOL.map(partial(_read_row, len(column)), range(len(column)), column)))


def _read_row(rows: int, row: int, content: bytes) -> _Array:
    try:
        return _read_image(content)
    except ValueError as error:
        raise ValueError(f"image {row}: {error}" if rows > 1 else str(error)) from error


def _read_image(content: bytes) -> _Array:
    pixels = _crop(np.asarray(_resize(_open(content))))
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if _SETTINGS["channels"] == "bgr":
        pixels = pixels[..., ::-1]
    if _TABLE is not None:
        pixels = _TABLE[pixels, np.arange(pixels.shape[2])]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if _SETTINGS["layout"] == "nchw" else pixels)


def _open(content: bytes) -> Image.Image:
    if not content:
        raise ValueError("the image is empty")
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=_KNOWN)
    except UnidentifiedImageError:
        raise ValueError(f"this is no image in a format that is read here: {', '.join(_KNOWN)}") from None
    except Exception as error:
        raise ValueError(f"the image cannot be read: {error}") from error
    if image.width * image.height > _SETTINGS["max_pixels"]:
        raise ValueError(
            f"the image has {image.width}×{image.height} pixels, more than max_pixels={_SETTINGS['max_pixels']}"
        )
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits of grey, which converting would cut at 255
            image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
        return image.convert(_MODE)
    except Exception as error:
        raise ValueError(f"the image is broken: {error}") from error


def _resize(image: Image.Image) -> Image.Image:
    size = _SETTINGS["size"]
    if size is None:
        return image
    if _SETTINGS["pad"] is not None:
        ratio = min(size[0] / image.height, size[1] / image.width)
        width, height = (max(round(side * ratio), 1) for side in image.size)
    elif isinstance(size, list):
        height, width = size
    else:
        short = min(image.size)
        width, height = (size if side == short else int(size * side / short) for side in image.size)
    if max(width, height) > _SETTINGS["max_pixels"] // min(width, height):
        raise ValueError(f"the image would be resized to {width}×{height} pixels: it is too narrow")
    return image.resize((width, height), _FILTER)


def _crop(pixels: _Array) -> _Array:
    """Around the centre, filled where the image is smaller; the two libraries round halves differently."""
    if _SETTINGS["crop"] is None:
        return pixels
    rounds_up = _SETTINGS["crop_as"] == "transformers"
    missing = [max(wanted - size, 0) for wanted, size in zip(_SETTINGS["crop"], pixels.shape, strict=False)]
    if any(missing):
        before = [(size + 1) // 2 if rounds_up else size // 2 for size in missing]
        around = [(first, size - first) for first, size in zip(before, missing, strict=True)]
        widths = [*around, *[(0, 0)] * (pixels.ndim - 2)]
        pixels = np.pad(pixels, widths, constant_values=_SETTINGS["pad"] or 0)
    height, width = _SETTINGS["crop"]
    over = (pixels.shape[0] - height, pixels.shape[1] - width)
    top, left = (size // 2 if rounds_up else round(size / 2) for size in over)
    return pixels[top : top + height, left : left + width]


def _make_table() -> _Array | None:
    """What each of the 256 values becomes in each channel; None where pixels stay as they are.

    In the order, and with the roundings, of transformers: times the scale in 64 bits, the rest in 32.
    """
    if _SETTINGS["type"] == "uint8":
        return None
    values = (np.arange(256, dtype=np.float64) * _SETTINGS["scale"]).astype(np.float32)[:, np.newaxis]
    mean, deviation = (np.array(_SETTINGS[name], dtype=np.float32) for name in ("mean", "std"))
    table = np.asarray((values - mean) / deviation).astype(_SETTINGS["type"])
    return np.ascontiguousarray(np.broadcast_to(table, (256, len(_MODE))))


_TABLE = _make_table()
