"""Python models: a model.py with the class TritonPythonModel, read and never run."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, Tensor, reading
from serve_deploy.manifest import ReasonedValue
from serve_deploy.model_config import CONFIG_NAME, parse_config
from serve_deploy.model_config.client_tensors import client_tensors

CLASS_NAME = "TritonPythonModel"
MODEL_NAME = "model.py"
_COMPLETES = "auto_complete_config"
_MOST_BYTES = 16 << 20
_IGNORED = ("__pycache__",)


def read_python_model(path: Path) -> Artefact:
    """Read a model.py, or a folder with one in it or in its newest version; InvalidModelError where it is none."""
    source = find_model_file(path)
    with reading(source, "a Python file"):
        methods = _read_methods(source)
    if "execute" not in methods:
        raise InvalidModelError(f"{source}: {CLASS_NAME} has no execute", hint="execute answers the requests: write it")
    config = parse_config(_read_config(path)) if path.is_dir() else parse_config("")
    return Artefact(
        framework="Python",
        backend="python",
        source=source,
        files=_version_files(path, source),
        inputs=_tensors(config, "input"),
        outputs=_tensors(config, "output"),
        facts=(ReasonedValue(name="methods", value=", ".join(sorted(methods)), reason=f"of {CLASS_NAME}"),),
        tensors_from=f"its {CONFIG_NAME}",
        parameters={key: value.string_value for key, value in config.parameters.items()},
        reasons={
            "backend": f"a Python process runs {CLASS_NAME}",
            "parameters": "read by the Python backend, and by the model",
        },
        shared_files=_shared_files(path, source),
        max_batch_size=int(config.max_batch_size) if config.input else None,
        suggestion="x FP32 [-1, 4] -> y FP32 [-1, 2]",
        notes=tuple(_notes(config)),
    )


def completes_config(artefact: Artefact) -> bool:
    """Whether the model itself can tell Triton its tensors."""
    return any(fact.name == "methods" and _COMPLETES in str(fact.value) for fact in artefact.facts)


def find_model_file(path: Path) -> Path:
    """The model.py of a source: the file itself, or that of a folder or of its newest version."""
    if not path.is_dir():
        return path
    versions = sorted(
        (int(each.name) for each in path.iterdir() if each.name.isdigit() and each.is_dir()), reverse=True
    )
    found = [path / MODEL_NAME, *(path / str(version) / MODEL_NAME for version in versions)]
    return next((file for file in found if file.is_file()), path / MODEL_NAME)


def _read_methods(source: Path) -> list[str]:
    if source.stat().st_size > _MOST_BYTES:
        raise ValueError("too large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings; they are the model's own business
            tree = ast.parse(source.read_bytes())
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise InvalidModelError(f"{source} is not valid Python: {error.msg}{where}", hint="correct it") from error
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == CLASS_NAME:
            return [each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    raise InvalidModelError(
        f"{source} has no class {CLASS_NAME}, which Triton's Python backend looks for",
        hint="write it; a plain typed function becomes a step of serve pipeline",
    )


def _read_config(folder: Path) -> str:
    path = folder / CONFIG_NAME
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelError(f"{path} cannot be read as text", hint="correct or delete it") from error


def _tensors(config: object, kind: str) -> tuple[Tensor, ...] | None:
    try:
        found = client_tensors(config, kind)
    except ValueError as error:
        raise InvalidModelError(f"{CONFIG_NAME}: {error}", hint="correct or delete it") from error
    return tuple(Tensor(tensor.name, tensor.data_type, tensor.shape) for tensor in found) or None


def _version_files(path: Path, source: Path) -> dict[str, Path]:
    if not path.is_dir():
        return {MODEL_NAME: source}
    own = {file.relative_to(source.parent).as_posix(): file for file in _walk(source.parent)}
    return {name: file for name, file in own.items() if name != CONFIG_NAME}


def _shared_files(path: Path, source: Path) -> dict[str, Path]:
    """What stands beside the version folders, such as a packed environment; nothing where the source has none."""
    if not path.is_dir() or source.parent == path:
        return {}
    beside = (file for file in _walk(path) if not file.relative_to(path).parts[0].isdigit())
    found = {file.relative_to(path).as_posix(): file for file in beside}
    return {name: file for name, file in found.items() if name not in (CONFIG_NAME, "manifest.json", "samples.npz")}


def _walk(folder: Path) -> list[Path]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(
        file
        for file in files
        if not any(part in _IGNORED or part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _notes(config: object) -> list[str]:
    kept = {"name", "backend", "platform", "max_batch_size", "input", "output", "parameters"}
    set_fields = [descriptor.name for descriptor, _value in config.ListFields()]  # type: ignore[attr-defined]
    dropped = [name for name in set_fields if name not in kept]
    if not dropped:
        return []
    return [f"of its {CONFIG_NAME}, {', '.join(dropped)} is not kept: the options of serve package set them"]
