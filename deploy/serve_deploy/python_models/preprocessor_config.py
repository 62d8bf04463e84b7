"""What a preprocessor_config.json of transformers means in the settings of decode_image. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve_deploy.errors import UsageError

_HALF = (0.5, 0.5, 0.5)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's number
_DOES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
# What these do besides concerns nothing but images that are RGB already, and the maps of segmentation.
_WITHOUT_EFFECT = ("do_convert_rgb", "do_reduce_labels")


def _processor(size: int, resample: int | None, **others: Any) -> dict[str, Any]:
    """A class of transformers by its defaults, None where its versions differ; what is not said is as in most."""
    plain = {"square": True, "crop_size": 224, "do_center_crop": False, "image_mean": _HALF, "image_std": _HALF}
    return {
        **plain, "size": size, "resample": resample, "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, **others,
    }  # fmt: skip


_CLIP = _processor(224, 3, square=False, do_center_crop=True, image_mean=_CLIP_MEAN, image_std=_CLIP_STD)
_MOBILENET = _processor(256, 2, square=False, do_center_crop=True)
# The processors that resize, crop, scale and normalise and do nothing else.
_PROCESSORS = {
    "Beit": _processor(224, 3, do_center_crop=None),
    "Bit": _CLIP,
    "CLIP": _CLIP,
    "ConvNext": _processor(384, None, square=False, crop_pct=224 / 256),
    "DeiT": _processor(256, 3, do_center_crop=True),
    "MobileNetV1": _MOBILENET,
    "MobileNetV2": _MOBILENET,
    "Siglip": _processor(224, 3),
    "ViT": _processor(224, 2),
}


def read_preprocessor(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The settings that do what the named class of transformers does; UsageError where that is more than resizing,
    cropping, scaling and normalising.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")
    known = {**_find_processor(kind, file), **{name: value for name, value in config.items() if value is not None}}
    open_values = [name for name, value in known.items() if value is None]
    if open_values:
        message = f"decode_image: {file} does not say `{open_values[0]}`, in which versions of transformers differ"
        raise UsageError(message, hint="write it there")
    others = [name for name, value in config.items() if name.startswith("do_") and value is True]
    unknown = [name for name in others if name not in (*_DOES, *_WITHOUT_EFFECT)]
    if unknown:
        raise UsageError(f"decode_image: {file}: `{unknown[0]}` is not among what this step does", hint=_BY_HAND)
    settings: dict[str, Any] = {"crop_as": "transformers", "filter": _read_filter(known["resample"], file)}
    if known["do_resize"]:
        settings["size"] = _read_size(known["size"], file, square=known["square"])
    if known["do_center_crop"]:
        settings["crop"] = _read_size(known["crop_size"], file, square=True)
    if "crop_pct" in known and known["do_resize"]:
        settings |= _resize_as_convnext(settings["size"], known["crop_pct"])
    settings["scale"] = known["rescale_factor"] if known["do_rescale"] else 1.0
    if known["do_normalize"]:
        settings |= {"mean": known["image_mean"], "std": known["image_std"]}
    return settings


_BY_HAND = "write the step's settings by hand: size, crop, filter, scale, mean and std"


def _find_processor(kind: str, file: str) -> Mapping[str, Any]:
    name = kind.removesuffix("Fast").removesuffix("Pil").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if name not in _PROCESSORS:
        what = f"is for {kind}, which this step does not know" if kind else "does not say its image_processor_type"
        raise UsageError(f"decode_image: {file} {what}", hint=_BY_HAND)
    return _PROCESSORS[name]


def _read_filter(resample: Any, file: str) -> str:
    if not isinstance(resample, int) or not 0 <= resample < len(_FILTERS):
        raise UsageError(f"decode_image: {file}: `resample` is {resample}, not a filter of Pillow's", hint=_BY_HAND)
    return _FILTERS[resample]


def _read_size(size: Any, file: str, *, square: bool) -> int | list[int]:
    """An edge, or [height, width]."""
    if isinstance(size, Mapping):
        given = {name: value for name, value in size.items() if value is not None}
        if given.keys() == {"height", "width"}:
            return [given["height"], given["width"]]
        if given.keys() == {"shortest_edge"}:
            return int(given["shortest_edge"])
        raise UsageError(f"decode_image: {file}: a size of {', '.join(given)} is not known to this step", hint=_BY_HAND)
    if isinstance(size, list) and len(size) == 2:
        return size
    return [size, size] if square else size


def _resize_as_convnext(size: int | list[int], share: float) -> dict[str, Any]:
    """Below 384 the picture is made larger and cropped, from there on only resized."""
    edge = size if isinstance(size, int) else size[0]
    return {"size": [edge, edge]} if edge >= 384 else {"size": int(edge / share), "crop": edge}
