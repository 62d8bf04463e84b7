"""Which backends and platforms Triton has (core: GetBackendTypeFromPlatform, AutoCompleteBackendFields)."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from serve_deploy.model_config.problem import Problem

# The platforms that go with each backend of the core; another backend takes any platform.
_PLATFORMS = {
    "onnxruntime": ("onnxruntime_onnx",), "tensorrt": ("tensorrt_plan",),
    "pytorch": ("pytorch_libtorch", "torch_aoti", "libtorch"),
    "tensorflow": ("tensorflow_savedmodel", "tensorflow_graphdef"),
}  # fmt: skip
_OTHERS = ("python", "openvino", "fil", "dali", "vllm", "tensorrtllm")
_BY_PLATFORM = {platform: backend for backend, platforms in _PLATFORMS.items() for platform in platforms}
# What people write for a backend, where it is no mere slip of the keys.
_NICKNAMES = {
    "onnx": "onnxruntime", "ort": "onnxruntime", "onnx_runtime": "onnxruntime", "torch": "pytorch",
    "libtorch": "pytorch", "trt": "tensorrt", "tf": "tensorflow", "trtllm": "tensorrtllm",
}  # fmt: skip


def find_backend(name: str) -> str | None:
    """The backend of Triton's that was meant by a name that is none; None where nothing suggests one."""
    meant = _NICKNAMES.get(name.casefold()) or _BY_PLATFORM.get(name)
    known = {backend: backend for backend in (*_PLATFORMS, *_OTHERS)}
    if meant is None and name not in known:
        known |= _BY_PLATFORM
        meant = next((known[close] for close in get_close_matches(name.casefold(), known, n=1, cutoff=0.85)), None)
    return meant


def check_platform(config: Any) -> Iterator[Problem]:
    """A platform that Triton does not have, or that does not go with the backend."""
    backend, platform = config.backend, config.platform
    if not platform or platform == "ensemble":
        return
    allowed = _PLATFORMS.get(backend, ())
    if backend and allowed and platform not in allowed:
        message = f"'{platform}' does not go with the backend '{backend}'"
        yield Problem("platform", message, "remove platform: the backend is enough")
    elif not backend and platform not in _BY_PLATFORM:
        meant = platform if platform in (*_PLATFORMS, *_OTHERS) else find_backend(platform)
        fix = f'write backend: "{meant}" in its place' if meant else "write the backend in its place"
        yield Problem("platform", f"Triton has no platform '{platform}'", fix)
