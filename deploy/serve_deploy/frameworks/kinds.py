"""Which framework a file or folder is of: told by its content, and only then by its suffix."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.frameworks import foreign, tensorrt
from serve_deploy.frameworks.artefact import Artefact, read_head
from serve_deploy.frameworks.lightgbm import read_lightgbm
from serve_deploy.frameworks.openvino import read_openvino
from serve_deploy.frameworks.python_model import CLASS_NAME, find_model_file, read_python_model
from serve_deploy.frameworks.savedmodel import GRAPH_NAME, read_savedmodel
from serve_deploy.frameworks.torch_export import read_torch_export
from serve_deploy.frameworks.torchscript import read_torchscript
from serve_deploy.frameworks.treelite import looks_like_treelite, read_treelite
from serve_deploy.frameworks.xgboost import read_xgboost_json, read_xgboost_ubj

Parameters = Mapping[str, str]


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it is told, which suffixes it has, and what reads it."""

    name: str
    suffixes: tuple[str, ...]
    is_it: Callable[[Path, bytes], bool]
    read: Callable[[Path, Parameters], Artefact]
    is_served: bool = True


def find_kind(path: Path) -> Kind | None:
    """The kind of a file or folder, by its content, or else by its suffix; None where it may be ONNX or anything."""
    head = b"" if path.is_dir() else read_head(path)
    found = next((kind for kind in _KINDS if kind.is_it(path, head)), None)
    if found is not None:
        return found
    # An empty or foreign file of a known suffix is refused by what should have been in it.
    return None if path.is_dir() or not path.is_file() else _by_suffix(path)


def read_artefact(path: Path, parameters: Parameters, *, any_name: bool = False) -> Artefact:
    """Read a model file or folder of any framework but ONNX; InvalidModelError where it is none, or not whole.

    With `any_name` its suffix may be that of something else.
    """
    kind = find_kind(path)
    if kind is None:
        raise InvalidModelError(f"{path} is of no framework that serve knows", hint="export the model to ONNX")
    if not path.is_dir():
        _require_content(path, kind)
        if not any_name:
            _require_suffix(path, kind)
    try:
        return _printable(path, kind.read(path, parameters))
    except (InvalidModelError, UsageError) as error:
        # What a file calls itself may be anything, also what moves a terminal's cursor.
        raise type(error)(as_printable(error.message), hint=as_printable(error.hint or "") or None) from error


def _printable(path: Path, artefact: Artefact) -> Artefact:
    """The artefact with facts that can be shown; InvalidModelError where a tensor's name cannot."""
    for tensor in (*(artefact.inputs or ()), *(artefact.outputs or ())):
        if tensor.name != as_printable(tensor.name):
            raise InvalidModelError(
                f"{path}: the name of tensor '{tensor.name}' has characters that cannot be printed",
                hint="rename the tensor where the model is made",
            )
    facts = tuple(
        fact.model_copy(update={"value": as_printable(fact.value)}) if isinstance(fact.value, str) else fact
        for fact in artefact.facts
    )
    reasons = {field: as_printable(reason) for field, reason in artefact.reasons.items()}
    version = artefact.version and as_printable(artefact.version)
    return replace(artefact, facts=facts, reasons=reasons, version=version)


def as_printable(text: str) -> str:
    """The text with a mark in place of each control character and the like."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _require_content(path: Path, kind: Kind) -> None:
    """InvalidModelError where only the suffix makes the file one of that kind."""
    from serve_deploy.onnx.file_formats import name_format

    head = read_head(path)
    if kind.is_it(path, head) or path.suffix == ".pb":
        return
    if not head:
        raise InvalidModelError(f"{path} is empty", hint="export or download it again")
    if _is_zip(head):
        raise InvalidModelError(
            f"{path} is a zip archive, but not {kind.name}, or one that is cut short",
            hint="export or download it again",
        )
    other = name_format(head, "")
    if other is not None:
        raise InvalidModelError(f"{path} is not {kind.name}: {other.description}", hint=other.hint)
    raise InvalidModelError(
        f"{path} is not {kind.name}, as its suffix says: it does not begin as one",
        hint="export or download it again, or name the file that you meant",
    )


def _require_suffix(path: Path, kind: Kind) -> None:
    suffix = path.suffix.lower()
    usual = (
        "ONNX" if suffix == ".onnx" else next((other.name for other in _KINDS if suffix in other.suffixes), kind.name)
    )
    if usual != kind.name and kind.is_served:
        raise InvalidModelError(
            f"{path} is called {suffix} as {usual} is, but it is {kind.name}",
            hint=f"rename it to {path.stem}{kind.suffixes[0]}",
        )


def _by_suffix(path: Path) -> Kind | None:
    return next((kind for kind in _KINDS if path.suffix.lower() in kind.suffixes), None)


def _zip_names(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ()


def _is_pt2(path: Path, head: bytes) -> bool:
    return _is_zip(head) and any(name.endswith("/archive_format") for name in _zip_names(path))


def _is_torchscript(path: Path, head: bytes) -> bool:
    return _is_zip(head) and any(name.endswith(("/data.pkl", "/constants.pkl")) for name in _zip_names(path))


def _is_zip(head: bytes) -> bool:
    return head[:4] == b"PK\x03\x04"


def _is_openvino(_path: Path, head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    return text.startswith((b"<?xml", b"<net")) and b"<html" not in text


def _is_python(path: Path, head: bytes) -> bool:
    if path.is_dir():
        return find_model_file(path).is_file()
    return path.suffix == ".py" or (path.suffix == "" and CLASS_NAME.encode() in head)


def _is_savedmodel(path: Path, _head: bytes) -> bool:
    return (path / GRAPH_NAME).is_file() if path.is_dir() else path.name == GRAPH_NAME


def _read_savedmodel(path: Path, parameters: Parameters) -> Artefact:
    if not path.is_dir() and path.name != GRAPH_NAME:
        raise InvalidModelError(
            f"{path} is a single .pb file, and Triton serves TensorFlow's folders of {GRAPH_NAME} and variables",
            hint="save it with tf.saved_model.save; or convert a frozen graph with tf2onnx",
        )
    return read_savedmodel(path if path.is_dir() else path.parent, parameters)


def _refuse_pickle(path: Path, _parameters: Parameters) -> Artefact:
    foreign.refuse_pickle(path, read_head(path, 1 << 20))


def _refuse_unserved(path: Path, _parameters: Parameters) -> Artefact:
    foreign.refuse_unserved(path, read_head(path))


def _match(pattern: bytes) -> Callable[[Path, bytes], bool]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda _path, head: compiled.match(head) is not None


_KINDS = (
    Kind("a SavedModel", (".pb",), _is_savedmodel, _read_savedmodel),
    Kind("a Python model", (".py",), _is_python, lambda p, _: read_python_model(p)),
    Kind("a TensorRT plan", (".plan", ".engine", ".trt"), _match(tensorrt.MAGIC), lambda p, _: tensorrt.read_plan(p)),
    Kind("a PyTorch .pt2 archive", (".pt2",), _is_pt2, lambda p, _: read_torch_export(p)),
    Kind("a PyTorch archive", (".pt", ".pth", ".ts"), _is_torchscript, lambda p, _: read_torchscript(p)),
    Kind("an OpenVINO model", (".xml",), _is_openvino, lambda p, _: read_openvino(p)),
    Kind("XGBoost's JSON", (".json",), _match(rb'\s*\{\s*"(learner|version|Config|Model)"'), read_xgboost_json),
    Kind("XGBoost's UBJSON", (".ubj",), _match(rb"\{(L.{7}|l.{3}|I.|[iU]).(learner|version|Config|Model)"),
         read_xgboost_ubj),
    Kind("a model of trees", (), foreign.is_unserved, _refuse_unserved, is_served=False),
    Kind("a LightGBM model", (".txt",), _match(rb"tree\r?\nversion="), read_lightgbm),
    Kind("a Treelite checkpoint", (".tl",), lambda _path, head: looks_like_treelite(head), read_treelite),
    Kind("a pickle", (".pkl", ".pickle", ".joblib"), lambda _path, head: foreign.is_pickle(head), _refuse_pickle,
         is_served=False),
)  # fmt: skip
