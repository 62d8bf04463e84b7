"""Class labels: from the user's file, or from the model's own metadata."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from serve_deploy.errors import UsageError
from serve_deploy.tensors.types import ModelSignature

Labels = Mapping[str, tuple[str, ...]]

# What a fix writes: a JSON object of labels by output.
LABELS_KEY = "serve.labels"
# Keys that exporters write: Ultralytics `names`, timm and Azure Custom Vision `labels`, PaddleOCR `character`.
_KEYS = ("names", "labels", "classes", "class_names", "label_names", "id2label", "categories", "character")


def choose_labels(chosen: Sequence[str], metadata: Mapping[str, str], signature: ModelSignature) -> Labels:
    """Labels by output: from each `FILE` or `OUTPUT=FILE` (one per line), else from the model's own metadata."""
    if not chosen:
        return find_labels(metadata, signature)
    found: dict[str, tuple[str, ...]] = {}
    for each in chosen:
        output, lines = _read_chosen(each, signature)
        if output in found:
            raise UsageError(f"`labels`: two files are for output '{output}'")
        found[output] = lines
    return found


def from_folder(chosen: str, folder: Path) -> str:
    """`FILE` or `OUTPUT=FILE` whose file is named as seen from a folder."""
    output, separator, file = chosen.rpartition("=")
    return f"{output}{separator}{folder / file}"


def _read_chosen(chosen: str, signature: ModelSignature) -> tuple[str, tuple[str, ...]]:
    outputs = {spec.name: spec for spec in signature.outputs}
    output, _, file = chosen.rpartition("=")
    lines = _read_lines(Path(file if output in outputs else chosen))
    if output not in outputs:
        fitting = [spec.name for spec in signature.outputs if spec.shape and spec.shape[-1] == len(lines)]
        candidates = fitting or ([*outputs] if len(outputs) == 1 else [])
        if len(candidates) != 1:
            raise UsageError(
                f"`labels`: {len(lines)} labels fit {len(fitting)} of the outputs {', '.join(outputs)}",
                hint="say which one: `labels=OUTPUT=FILE`",
            )
        output = candidates[0]
    size = outputs[output].shape[-1] if outputs[output].shape else 1
    if size not in (-1, len(lines)):
        raise UsageError(f"`labels`: {len(lines)} labels, but output '{output}' has {size} classes")
    return output, lines


def keep_labels(kept: Labels, own: Labels, signature: ModelSignature) -> tuple[Labels, tuple[str, ...]]:
    """The model's own labels with those that are kept in their place, and a note on each that no longer fits."""
    sizes = {spec.name: spec.shape[-1] if spec.shape else 1 for spec in signature.outputs}
    fitting = {output: names for output, names in kept.items() if sizes.get(output) in (-1, len(names))}
    notes = tuple(
        f"the {len(kept[output])} labels of '{output}' are not kept: they no longer fit the model"
        for output in kept.keys() - fitting.keys()
    )
    return {**own, **fitting}, notes


def name_label_files(labels: Labels) -> dict[str, str]:
    """What the file of each output's labels is called in the model's folder."""
    if len(labels) == 1:
        return dict.fromkeys(labels, "labels.txt")
    return {output: f"labels_{index}.txt" for index, output in enumerate(labels)}


def format_labels(names: Iterable[str]) -> bytes:
    """The content of such a file."""
    return "".join(f"{name}\n" for name in names).encode()


def _read_lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(
            f"`labels`: {path} cannot be read: {reason}", hint="give a text file with one label per line"
        ) from error


def find_labels(metadata: Mapping[str, str], signature: ModelSignature) -> dict[str, tuple[str, ...]]:
    """Labels by output, where the metadata lists exactly as many as the output's last dim; else an empty dict."""
    found = _kept_labels(metadata, signature)
    lists = [labels for key in _KEYS if (labels := _parse(metadata.get(key, "")))]
    for output in signature.outputs:
        fitting = [labels for labels in lists if output.shape[1:] and output.shape[-1] == len(labels)]
        if fitting and output.data_type.is_float and len(output.shape) == 2:
            found.setdefault(output.name, fitting[0])
    return found


def _kept_labels(metadata: Mapping[str, str], signature: ModelSignature) -> dict[str, tuple[str, ...]]:
    try:
        kept = json.loads(metadata.get(LABELS_KEY, "{}"))
        names = {output.name for output in signature.outputs}
        return {output: tuple(map(str, labels)) for output, labels in kept.items() if output in names}
    except (ValueError, AttributeError, TypeError):
        return {}


def _parse(text: str) -> tuple[str, ...] | None:
    """Read a list or an index → name mapping, written as JSON, as a Python literal, or one name a line."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return _names(parse(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    lines = [line.strip() for line in text.replace(",", "\n").splitlines()]
    return tuple(lines) if len(lines) > 1 and all(lines) else None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, dict):
        by_index = {int(key): name for key, name in value.items()}
        value = [by_index.get(index) for index in range(len(by_index))]
    if not isinstance(value, list | tuple) or not value:
        return None
    usable = all(isinstance(name, str | int) and "\n" not in str(name) for name in value)
    return tuple(str(name) for name in value) if usable else None
