"""Model repositories for tests of what reads them: the digits network, with manifests as package writes them."""

from __future__ import annotations

import shutil
from pathlib import Path

from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, BatchingProof, Manifest, Verification
from serve_deploy.tensors.types import DataType, TensorSpec

DIGITS = Path(__file__).parents[2] / "examples" / "digits"
TENSORS = """backend: "onnxruntime" max_batch_size: 8
input { name: "image" data_type: TYPE_FP32 dims: [1, 8, 8] }
output { name: "probabilities" data_type: TYPE_FP32 dims: [10] }
"""


def add_model(
    repository: Path, name: str = "digits", *, config: str = "instance_group { count: 1 }", packaged: bool = True
) -> Path:
    """Add the digits network under a name; `packaged` gives it a manifest and samples."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    shutil.copy(DIGITS / "digits.onnx", folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(f'name: "{name}" {TENSORS} {config}')
    if packaged:
        (folder / MANIFEST_NAME).write_text(make_manifest(name).model_dump_json())
        import numpy as np

        from serve_deploy.samples.files import encode_samples

        (folder / SAMPLES_NAME).write_bytes(
            encode_samples([{"image": np.arange(64, dtype="float32").reshape(1, 1, 8, 8)}])
        )
    return folder


def add_ensemble(repository: Path, name: str, member: str) -> Path:
    """Add an ensemble of one member, with the empty version folder that it needs."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        f'name: "{name}" platform: "ensemble" max_batch_size: 8'
        ' input { name: "image" data_type: TYPE_FP32 dims: [1, 8, 8] }'
        ' output { name: "p" data_type: TYPE_FP32 dims: [10] }'
        f' ensemble_scheduling {{ step {{ model_name: "{member}" model_version: -1'
        ' input_map { key: "image" value: "image" } output_map { key: "probabilities" value: "p" } } }'
    )
    return folder


def make_manifest(name: str, *, opset: int = 17, load_seconds: float = 0.5) -> Manifest:
    """A manifest of a verified model."""
    return Manifest(
        tool_version="0.1.0", name=name, version=1, triton_release="24.10", source_name="digits.onnx",
        source_sha256="0" * 64, files=(), onnx_ir_version=8, onnx_opsets={"ai.onnx": opset},
        inputs=(TensorSpec("image", DataType.FP32, (-1, 1, 8, 8)),),
        outputs=(TensorSpec("probabilities", DataType.FP32, (-1, 10)),),
        batching=BatchingProof(verdict="batchable", max_batch_size=8, evidence="rows equal"),
        samples=1, sample_bytes=256,
        verification=Verification(runtime="embedded", triton_version="2.51.0", requests=36, largest_batch_executed=8,
                                  tensors=(), load_seconds=load_seconds, memory_bytes=100 * 2**20),
    )  # fmt: skip
