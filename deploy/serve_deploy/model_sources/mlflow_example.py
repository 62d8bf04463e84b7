"""An MLflow model's signature and input example, in Triton's terms, as far as they fit the file that is served."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serve_deploy.errors import ServeError
from serve_deploy.model_sources.mlflow_model import Description, inside
from serve_deploy.tensors.types import DataType, ModelSignature

Array = np.ndarray[Any, Any]
_SAMPLES = "input_example.npz"
_TYPES = {each.numpy_name: each for each in DataType if each not in (DataType.BYTES, DataType.BF16)}


def write_signature(described: Description, path: Path) -> str | None:
    """The tensors as `signature` has them, of a file that does not tell them; None where MLflow has none."""
    from serve_deploy.frameworks.kinds import find_kind, read_artefact

    if find_kind(path) is None or described.signature is None:
        return None
    artefact = read_artefact(path, {}, any_name=True)
    sides = (artefact.inputs, artefact.outputs)
    if all(side is not None and all(tensor.is_complete for tensor in side) for side in sides):
        return None
    try:
        inputs = list(_write_side(described.signature["inputs"], "INPUT"))
        outputs = list(_write_side(described.signature["outputs"], "OUTPUT"))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return f"{', '.join(inputs)} -> {', '.join(outputs)}"


def _write_side(text: str, kind: str) -> Iterator[str]:
    """Each tensor of a side; ValueError or the like where it is of columns, or in another form."""
    for index, each in enumerate(json.loads(text)):
        spec = each["tensor-spec"]
        dims = ",".join(str(int(dim)) for dim in spec["shape"])
        name = str(each.get("name") or f"{kind}__{index}")
        yield f"{name} {_TYPES[spec['dtype']].value} [{dims}]"


def read_example(
    described: Description, folder: Path, path: Path, given: str | None
) -> tuple[Path | None, tuple[str, ...]]:
    """The input example as a file of samples, or a note that it does not fit the model's inputs."""
    from serve_deploy.samples.files import read_samples

    saved = described.saved_input_example_info
    if saved is None:
        return None, ()
    try:
        signature = _read_signature(path, given)
        content = json.loads(inside(folder, saved.artifact_path).read_bytes())
        arrays = _fit(content, saved.type, signature)
        target = folder / _SAMPLES
        np.savez(target, **arrays)
        read_samples(target, signature)
    except (ServeError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = error.message if isinstance(error, ServeError) else "it is of another form"
        return None, (f"the model's input example is left out: {reason.removeprefix(f'samples: {folder}/')}",)
    return target, ()


def _read_signature(path: Path, given: str | None) -> ModelSignature:
    from serve_deploy.frameworks.given_signature import complete, parse_signature
    from serve_deploy.frameworks.kinds import find_kind, read_artefact

    if find_kind(path) is None:
        from serve_deploy.onnx.model import read_model

        return read_model(path).signature
    artefact = read_artefact(path, {}, any_name=True)
    return complete(artefact, parse_signature(given) if given else None).signature


def _fit(content: Any, kind: str, signature: ModelSignature) -> Mapping[str, Array]:
    """The example's arrays by the names of the model's inputs; ValueError where they are of others."""
    required = [spec.name for spec in signature.required_inputs]
    if kind == "dataframe":
        rows = np.asarray(content["data"])
        if len(required) == 1 and required[0] not in content["columns"]:
            return {required[0]: rows}
        return {str(column): rows[:, index : index + 1] for index, column in enumerate(content["columns"])}
    if not isinstance(content, dict):
        content = {required[0]: content} if len(required) == 1 else {"": content}
    elif len(content) == len(required) == 1:
        content = {required[0]: next(iter(content.values()))}
    return {str(name): np.asarray(value) for name, value in content.items()}
