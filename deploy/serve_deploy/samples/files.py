"""Samples: real requests to a model, read from the user's files and kept beside the packaged model.

A sample maps every input to an array of its full shape; where the model batches, axis 0 is 1. BF16 is float32 here,
strings are objects of `str`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.tensors.casting import cast_array
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec
from serve_deploy.tensors.wire import encode_text

Array = np.ndarray[Any, Any]
Sample = dict[str, Array]
Samples = tuple[Sample, ...]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: equal samples make equal bytes


def read_samples(path: Path, signature: ModelSignature, *, split: bool = True) -> Samples:
    """Read samples from .npz, .npy, a folder of .npy or KServe v2 JSON; UsageError says what does not fit the model.

    Of a model whose one input is a string, any other file is a sample, as its bytes.

    With `split`, arrays whose every input carries the same leading N (all first dims free) become N samples of 1.
    """
    named = _read(path, signature)
    samples = [
        sample
        for number, arrays in enumerate(named)
        for sample in _fit_sample(f"{path}" + (f" (sample {number})" if len(named) > 1 else ""), arrays, signature)
    ]
    if not samples:
        raise UsageError(f"samples: {path} is empty", hint=_FORMATS)
    required = signature.required_inputs
    stackable = bool(required) and all(tensor.shape and tensor.shape[0] == -1 for tensor in required)
    if stackable and any(all(array.shape[0] == 0 for array in sample.values()) for sample in samples):
        raise UsageError(f"samples: {path} has a sample without rows", hint="give each input at least one row")
    if not split or not stackable:
        return tuple(samples)
    return tuple(row for sample in samples for row in _split_rows(sample))


def read_arrays(path: Path, names: Sequence[str]) -> tuple[Sample, ...]:
    """The arrays of a file of samples as they are, for a model of which only the inputs' names are known."""
    return tuple(_read(path, ModelSignature(tuple(TensorSpec(name, DataType.FP32, ()) for name in names), ())))


def _split_rows(sample: Sample) -> Samples:
    """Cut a sample of N rows into N samples of one, if every input is equally long."""
    lengths = {array.shape[0] for array in sample.values()}
    if len(lengths) != 1:
        return (sample,)
    return tuple({name: array[i : i + 1] for name, array in sample.items()} for i in range(lengths.pop()))


# --- the user's files ----------------------------------------------------------------------------------------------

_FORMATS = "give a .npz, .npy or KServe v2 .json file, or a folder of .npy files"
_ARRAYS = (".npy", ".npz", ".json", ".jsonl")


def _read(path: Path, signature: ModelSignature) -> list[Sample]:
    try:
        return _read_folder(path, signature) if path.is_dir() else _read_file(path, signature)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        hint = "save strings as unicode arrays (dtype U), not as objects" if "pickle" in str(error).lower() else None
        raise UsageError(f"samples: {path} cannot be read: {error}", hint=hint) from error


def _read_file(path: Path, signature: ModelSignature) -> list[Sample]:
    if not path.exists():
        raise UsageError(f"samples: {path} does not exist")
    match path.suffix:
        case ".npz":
            return _group(_read_npz(path), signature)
        case ".npy":
            return [{_only_input(path, signature): np.load(path, allow_pickle=False)}]
        case ".json" | ".jsonl":
            return _read_json(path)
    text = _only_text(signature)
    if text is None:
        raise UsageError(f"samples: {path} is not in a known format", hint=_FORMATS)
    return [_read_bytes(path, text)]


def _only_text(signature: ModelSignature) -> TensorSpec | None:
    """The only required input, where that is one string a row; else None."""
    first, *others = signature.required_inputs or (None,)
    is_text = first is not None and not others and first.data_type is DataType.BYTES
    return first if first and is_text and all(dim in (1, -1) for dim in first.shape) else None


def _read_bytes(path: Path, text: TensorSpec) -> Sample:
    array = np.empty((1,) * len(text.shape), dtype=object)
    array.reshape(-1)[:] = [path.read_bytes()]
    return {text.name: array}


def _read_npz(path: Path) -> Sample:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: _with_bytes(arrays[name]) for name in arrays.files}


def _with_bytes(array: Array) -> Array:
    """What `encode_samples` writes of a string that is no text, as that string."""
    if array.dtype.kind != "V" or array.dtype.names:
        return array
    return _as_text(np.array([item.tobytes() for item in array.ravel()], dtype=object).reshape(array.shape))


def _only_input(path: Path, signature: ModelSignature) -> str:
    names = [tensor.name for tensor in signature.required_inputs]
    if len(names) != 1:
        raise UsageError(
            f"samples: {path} is one array, but the model has {len(names)} inputs: {', '.join(names)}",
            hint="give a .npz with one array per input, or a folder with <input>.npy",
        )
    return names[0]


def _group(arrays: Sample, signature: ModelSignature) -> list[Sample]:
    """One sample where the keys are input names; several where they are `<index>/<input name>`."""
    names = {tensor.name for tensor in signature.inputs}
    if set(arrays) <= names or not all("/" in key and key.split("/", 1)[0].isdigit() for key in arrays):
        return [arrays]
    return _by_index(arrays)


def _by_index(arrays: Sample) -> list[Sample]:
    groups: dict[int, Sample] = {}
    for key, array in arrays.items():
        index, name = key.split("/", 1)
        groups.setdefault(int(index), {})[name] = array
    return [groups[index] for index in sorted(groups)]


def _read_folder(path: Path, signature: ModelSignature) -> list[Sample]:
    files = {p.stem: p for p in sorted(path.glob("*.npy"))}
    text = _only_text(signature)
    others = [p for p in sorted(path.iterdir()) if p.is_file() and p.suffix not in _ARRAYS and p.name[0] != "."]
    if not files and others and text:
        return [_read_bytes(file, text) for file in others]
    if not files:
        folders = sorted((p for p in path.iterdir() if p.is_dir()), key=lambda p: (len(p.name), p.name))
        if not folders:
            raise UsageError(f"samples: there are no .npy files in {path}")
        return [sample for folder in folders for sample in _read_folder(folder, signature)]
    arrays = {stem: np.load(p, allow_pickle=False) for stem, p in files.items()}
    by_file_name = {_file_name(tensor.name): tensor.name for tensor in signature.inputs}
    if set(files) & set(by_file_name):
        return [{by_file_name.get(stem, stem): array for stem, array in arrays.items()}]
    name = _only_input(path, signature)
    return [{name: array} for array in arrays.values()]


def _file_name(input_name: str) -> str:
    """An input's name as a file can carry it."""
    return "".join("_" if character in '/\\:*?"<>|' else character for character in input_name)


def _read_json(path: Path) -> list[Sample]:
    text = path.read_text(encoding="utf-8")
    document = [json.loads(line) for line in text.splitlines() if line] if path.suffix == ".jsonl" else json.loads(text)
    requests = document if isinstance(document, list) else [document]
    try:
        return [{tensor["name"]: _read_tensor(tensor) for tensor in request["inputs"]} for request in requests]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"samples: {path} is not a KServe v2 request: {error} is missing or wrong",
            hint='it looks like {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}',
        ) from error


def _read_tensor(tensor: Any) -> Array:
    return np.array(tensor["data"], dtype=DataType(tensor["datatype"]).numpy_name).reshape(tensor["shape"])


# --- fitting them to the model -------------------------------------------------------------------------------------


def _fit_sample(origin: str, arrays: Mapping[str, Array], signature: ModelSignature) -> list[Sample]:
    specs = {tensor.name: tensor for tensor in signature.inputs}
    unknown = [name for name in arrays if name not in specs]
    missing = [name for name, tensor in specs.items() if name not in arrays and not tensor.optional]
    if unknown or missing:
        problem = f"no array for input '{missing[0]}'" if missing else f"the model has no input '{unknown[0]}'"
        raise UsageError(f"samples: {origin}: {problem}", hint=f"the model's inputs: {', '.join(specs)}")
    cast = {name: _cast(origin, array, specs[name]) for name, array in arrays.items()}
    stacked = all(array.ndim == len(specs[name].shape) + 1 for name, array in cast.items())
    samples = _unstack(origin, cast) if stacked else [cast]
    for name, array in (item for sample in samples for item in sample.items()):
        if not specs[name].fits(array.shape):
            raise UsageError(
                f"samples: {origin}: input '{name}' has shape {list(array.shape)}, "
                f"the model takes {list(specs[name].shape)}"
            )
    return samples


def _unstack(origin: str, arrays: Sample) -> list[Sample]:
    counts = sorted({array.shape[0] for array in arrays.values()})
    if len(counts) != 1:
        lengths = ", ".join(map(str, counts))
        raise UsageError(f"samples: {origin}: the arrays stack different numbers of samples: {lengths}")
    return [{name: array[i] for name, array in arrays.items()} for i in range(counts[0])]


def _cast(origin: str, array: Array, spec: TensorSpec) -> Array:
    try:
        cast = cast_array(array, spec.data_type)
    except ValueError as error:
        raise UsageError(f"samples: {origin}: input '{spec.name}' {error}") from error
    return _as_text(cast) if spec.data_type is DataType.BYTES else cast


def _as_text(array: Array) -> Array:
    texts = [item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item) for item in array.flat]
    result = np.empty(array.shape, dtype=object)
    result.reshape(-1)[:] = texts
    return result


# --- samples.npz beside the model ----------------------------------------------------------------------------------


def encode_samples(samples: Iterable[Mapping[str, Array]]) -> bytes:
    """The bytes of `samples.npz`, with `<index>/<input name>` arrays; the same samples make the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, sample in enumerate(samples):
            for name, array in sample.items():
                member = zipfile.ZipInfo(f"{index}/{name}.npy", _EPOCH)
                member.compress_type = zipfile.ZIP_DEFLATED
                plain = _without_objects(array) if array.dtype == object else np.asarray(array, order="C")
                member.file_size = plain.nbytes
                with archive.open(member, "w") as file:
                    np.save(file, plain, allow_pickle=False)
    return buffer.getvalue()


def _without_objects(array: Array) -> Array:
    """Strings as arrays that need no pickle: a single one that is no text as its bytes, others as Unicode.

    Unicode arrays drop trailing NULs, which Triton's native backends cut strings at anyway.
    """
    content = encode_text(array.item()) if array.size == 1 else b""
    if not content or (content[-1] and content.decode("utf-8", "replace").encode() == content):
        return _as_text(array).astype(str)
    return np.frombuffer(content, f"V{len(content)}").reshape(array.shape)


def load_samples(path: Path) -> Samples:
    """Read what `encode_samples` made; InvalidModelError where it is something else."""
    try:
        groups = _by_index(_read_npz(path))
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidModelError(f"{path} cannot be read as samples: {error}", hint="package the model again") from error
    return tuple({name: _with_objects(array) for name, array in sample.items()} for sample in groups)


def _with_objects(array: Array) -> Array:
    return array.astype(object) if array.dtype.kind == "U" else array
