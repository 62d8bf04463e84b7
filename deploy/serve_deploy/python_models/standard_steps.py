"""The standard steps by name, and a Python model of one with its settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import UsageError
from serve_deploy.python_models.function_file import DEFAULT_MAX_BATCH_SIZE
from serve_deploy.python_models.model import PythonModel
from serve_deploy.python_models.requirements import find_requirements
from serve_deploy.python_models.source_code import read_source
from serve_deploy.python_models.staged_function import StagedFunction
from serve_deploy.python_models.written import lay_out, parameters_of
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.python_models.model import Arrays

_FOLDER = Path(__file__).parent / "standard"


@dataclass(frozen=True)
class Settled:
    """A standard step with its settings read: its tensors, what its function reads, and the files that go with it."""

    signature: ModelSignature
    settings: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    batches: bool = True
    samples: tuple[Arrays, ...] = ()


def standard_step(name: str, settings: Mapping[str, object], folder: Path) -> PythonModel:
    """A standard step; files that the settings name stand in `folder`. UsageError says which setting is wrong."""
    if name not in _STEPS:
        raise UsageError(f"there is no standard step '{name}'", hint=f"there are {', '.join(_STEPS)}")
    settled = _STEPS[name](settings, folder)
    file = f"{name}.py"
    source = (_FOLDER / file).read_bytes()
    requirements = find_requirements(read_source(source.decode(), file).imports, (), f"the step {name}")
    own = {file: source, "settings.json": json.dumps(settled.settings, indent=1).encode(), **settled.files}
    staged = StagedFunction(own, file, name)
    batch = DEFAULT_MAX_BATCH_SIZE if settled.batches else 0
    return PythonModel(
        source=f"standard step {name}",
        signature=settled.signature,
        max_batch_size=batch,
        files=lay_out(own, requirements),
        run=staged.bind(settled.signature, batched=batch > 0, text=()),
        parameters=parameters_of(file, name, ()),
        requirements=requirements,
        samples=settled.samples,
    )


def _settle_top_k(settings: Mapping[str, object], folder: Path) -> Settled:
    k = int(str(settings.get("k", 5)))
    labels = (folder / str(settings["labels"])).read_text().splitlines() if "labels" in settings else []
    classes = len(labels) or -1
    outputs = [TensorSpec("scores", DataType.FP32, (-1, k)), TensorSpec("indices", DataType.INT64, (-1, k))]
    if labels:
        outputs.insert(0, TensorSpec("labels", DataType.BYTES, (-1, k)))
    signature = ModelSignature((TensorSpec("logits", DataType.FP32, (-1, classes)),), tuple(outputs))
    return Settled(signature, {"k": k, "labels": labels, "activation": "softmax"})


_STEPS: dict[str, Callable[[Mapping[str, object], Path], Settled]] = {"top_k": _settle_top_k}
