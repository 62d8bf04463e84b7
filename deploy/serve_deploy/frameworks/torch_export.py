"""PyTorch's .pt2 archives: what AOTInductor compiled, which Triton serves from 26.03 on, and exported programs.

Sources: pytorch_backend, README.md and src/pt2; pytorch, torch/export/pt2_archive.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.archive import Archive
from serve_deploy.frameworks.artefact import Artefact, reading
from serve_deploy.manifest import ReasonedValue
from serve_deploy.tensors.types import DataType, TensorSpec

_COMPILED = "data/aotinductor"
# torch/_export/serde/schema.py: ScalarType.
_TYPES = {
    1: DataType.UINT8, 2: DataType.INT8, 3: DataType.INT16, 4: DataType.INT32, 5: DataType.INT64, 6: DataType.FP16,
    7: DataType.FP32, 8: DataType.FP64, 12: DataType.BOOL, 13: DataType.BF16,
}  # fmt: skip


def read_torch_export(path: Path) -> Artefact:
    """Read a .pt2 archive; InvalidModelError where it holds an exported program that nobody compiled."""
    with reading(path, "a PyTorch .pt2 archive"):
        archive = Archive(path)
        if not archive.has(_COMPILED):
            raise InvalidModelError(
                f"{path} is an exported program that is not compiled, and Triton serves only what AOTInductor compiled",
                hint="compile it with torch._inductor.aoti_compile_and_package(torch.export.load(FILE), "
                f"package_path='model.pt2'), and package that with `signature='{_read_program(archive)}'`; or export"
                " it with torch.onnx.export",
            )
        built = _read_metadata(archive)
    device, capability = built.get("AOTI_DEVICE_KEY") or None, built.get("AOTI_COMPUTE_CAPABILITY") or None
    on_gpu = device == "cuda"
    facts = {
        "device": (device, "compiled for it"),
        "gpu_architecture": (capability, "the compute capability that it was compiled for"),
        "cpu_features": (built.get("AOTI_CPU_ISA") or None, "the CPU's instructions that it was compiled for"),
        "machine": (built.get("AOTI_MACHINE") or None, "the processor that it was compiled for"),
    }
    return Artefact(
        framework="AOTInductor",
        backend="pytorch",
        platform="torch_aoti",
        source=path,
        files={"model.pt2": path},
        facts=tuple(ReasonedValue(name=name, value=value, reason=why) for name, (value, why) in facts.items() if value),
        device="gpu" if on_gpu else "cpu" if device == "cpu" else None,
        max_batch_size=0,
        reasons={
            "backend": "PyTorch runs the compiled model",
            "platform": "compiled by AOTInductor",
            "parameters": "read by the PyTorch backend",
            "instance_group.kind": "the model was compiled for it",
        },
        suggestion="INPUT__0 FP32 [1, 3, 224, 224] -> OUTPUT__0 FP32 [1, 1000]",
        notes=tuple(_notes(built, on_gpu)),
    )


def _read_program(archive: Archive) -> str:
    """The tensors of an exported program, as Triton's backend will call them once it is compiled."""
    name = next(name for name in archive.names if name.startswith("models/") and name.endswith(".json"))
    module = json.loads(archive.read(name))["graph_module"]
    values, signature = module["graph"]["tensor_values"], module["signature"]
    sides = []
    for kind, specs, field in (("INPUT", "input_specs", "user_input"), ("OUTPUT", "output_specs", "user_output")):
        names = [spec[field]["arg"]["as_tensor"]["name"] for spec in signature[specs] if field in spec]
        sides.append(", ".join(_describe(f"{kind}__{index}", values[each]) for index, each in enumerate(names)))
    return " -> ".join(sides)


def _describe(name: str, value: Any) -> str:
    data_type = _TYPES[value["dtype"]]
    return str(TensorSpec(name, data_type, tuple(size.get("as_int", -1) for size in value["sizes"])))


def _read_metadata(archive: Archive) -> dict[str, str]:
    names = [n for n in archive.names if n.startswith(_COMPILED) and n.endswith("_metadata.json")]
    found: dict[str, str] = {}
    for name in names:
        document = json.loads(archive.read(name))
        found |= {str(key): str(value) for key, value in document.items()}
    if not any(name.startswith(_COMPILED) and name.endswith((".so", ".o")) for name in archive.names):
        raise EOFError
    return found


def _notes(built: dict[str, str], on_gpu: bool) -> list[str]:
    notes = ["Triton's support of AOTInductor is a beta; it neither batches nor keeps sequences"]
    if on_gpu and built.get("AOTI_COMPUTE_CAPABILITY"):
        notes.append(f"it runs on GPUs of compute capability {built['AOTI_COMPUTE_CAPABILITY']} only")
    elif not on_gpu and built.get("AOTI_CPU_ISA"):
        notes.append(f"it runs on CPUs that have {built['AOTI_CPU_ISA'].replace(' ', ', ')}")
    return notes
