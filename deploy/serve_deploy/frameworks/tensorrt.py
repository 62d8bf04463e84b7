"""TensorRT plans: the version in the header; names and shapes are known only to TensorRT.

Sources: the answer in NVIDIA/TensorRT issue 3073, which Autoware relies on as well; torch_tensorrt for the magic.
"""

from __future__ import annotations

from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, reading
from serve_deploy.manifest import ReasonedValue

MAGIC = b"ftrt"
_VERSION = slice(24, 28)
_FIRST, _NEWEST = 5, 19


def read_plan(path: Path) -> Artefact:
    """Read a plan's header; InvalidModelError where there is none."""
    with reading(path, "a TensorRT plan"):
        with path.open("rb") as stream:
            header = stream.read(64)
        if header[:4] != MAGIC:
            raise InvalidModelError(
                f"{path} is not a TensorRT plan: it does not begin with 'ftrt'",
                hint="build it with trtexec --onnx=MODEL.onnx --saveEngine=model.plan",
            )
        if len(header) < 64:
            raise EOFError
        numbers = list(header[_VERSION])
    version = ".".join(map(str, numbers)) if _FIRST <= numbers[0] <= _NEWEST else None
    reason = "bytes 24 to 27 of the header" if version else "the header has none that is known"
    return Artefact(
        framework="TensorRT",
        backend="tensorrt",
        platform="tensorrt_plan",
        source=path,
        files={"model.plan": path},
        version=version,
        facts=(
            ReasonedValue(name="tensorrt_version", value=version, reason=reason),
            ReasonedValue(name="gpu_architecture", value=None, reason="a plan does not tell without TensorRT"),
        ),
        device="gpu",
        reasons={
            "backend": "the plan runs as it is, on the GPU type that it was built for",
            "platform": "a TensorRT plan",
            "instance_group.kind": "a TensorRT plan runs on GPUs only",
        },
        suggestion="x FP32 [-1, 3, 224, 224] -> y FP32 [-1, 1000]",
        notes=(
            "a plan runs only on the GPU type that it was built on, and the file does not tell which one that is; for"
            " several GPU types, `cc_model_filenames` in config.pbtxt names a plan for each compute capability",
        ),
    )
