"""Make what transformers' image processors return on one small picture: what decode_image must equal.

Usage: python scripts/preprocessor_examples.py, where transformers (PIL backend; 4.57 and 5.24 agree) and Pillow are
installed; it writes tests/support/preprocessors.npz.
"""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path

import numpy as np
import transformers
from PIL import Image

TARGET = Path(__file__).parents[1] / "tests" / "support" / "preprocessors.npz"
# Odd sizes, so that halves are rounded; ConvNeXT below 384 resizes and crops. What is said of BEiT and ConvNeXT besides
# are defaults in which the two versions differ.
SETTINGS = {
    "beit.Beit": {"size": {"height": 19, "width": 23}, "do_center_crop": False},
    "bit.Bit": {"size": {"shortest_edge": 20}, "crop_size": {"height": 17, "width": 15}},
    "clip.CLIP": {"size": {"shortest_edge": 21}, "crop_size": {"height": 18, "width": 18}},
    "convnext.ConvNext": {"size": {"shortest_edge": 18}, "resample": 3},
    "deit.DeiT": {"size": {"height": 20, "width": 20}, "crop_size": {"height": 23, "width": 16}},
    "mobilenet_v1.MobileNetV1": {"size": {"shortest_edge": 22}, "crop_size": {"height": 17, "width": 17}},
    "mobilenet_v2.MobileNetV2": {"size": {"shortest_edge": 17}, "crop_size": {"height": 20, "width": 20}},
    "siglip.Siglip": {"size": {"height": 20, "width": 20}},
    "vit.ViT": {"size": {"height": 16, "width": 24}, "do_rescale": True, "rescale_factor": 1 / 127.5},
}


def main() -> None:
    """Write the picture, and of each processor its configuration and its result."""
    slopes = np.linspace(0, 255, 57)[None, :, None] * np.array([1, 0.5, 0.2]) + np.arange(41)[:, None, None]
    noise = np.random.default_rng(0).integers(0, 90, (41, 57, 3))
    picture = Image.fromarray(((slopes + noise) % 256).astype(np.uint8))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    made = {"picture": np.frombuffer(stream.getvalue(), np.uint8)}
    for place, settings in SETTINGS.items():
        module, _, name = place.partition(".")
        processor = find_class(module, name)(**settings)
        config = {**processor.to_dict(), "image_processor_type": f"{name}ImageProcessor"}
        made[f"{name}/config"] = np.array(json.dumps(config, default=str))
        made[f"{name}/pixels"] = np.asarray(processor(picture, return_tensors="np")["pixel_values"])
    np.savez_compressed(TARGET, **made)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, by transformers {transformers.__version__}")


def find_class(module: str, name: str) -> type:
    """The processor that computes with Pillow and numpy: all of version 4, those with a backend of that name later."""
    later = int(transformers.__version__.split(".")[0]) > 4
    place = f"transformers.models.{module}.image_processing_{'pil_' if later else ''}{module}"
    found: type = getattr(importlib.import_module(place), f"{name}ImageProcessor{'Pil' if later else ''}")
    return found


if __name__ == "__main__":
    main()
