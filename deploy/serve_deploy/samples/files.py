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
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

Sample = dict[str, np.ndarray[Any, Any]]
Samples = tuple[Sample, ...]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: equal samples make equal bytes


def read_samples(path: Path, signature: ModelSignature, *, split: bool = True) -> Samples:
    """Read samples from .npz, .npy, a folder of .npy or KServe v2 JSON; UsageError says what does not fit the model.

    With `split`, arrays whose every input carries the same leading N (all first dims free) become N samples of 1.
    """
    named = _read_named(path, signature)
    samples = tuple(
        sample
        for number, arrays in enumerate(named)
        for sample in _fit_sample(f"{path}" + (f" (sample {number})" if len(named) > 1 else ""), arrays, signature)
    )
    if not samples:
        raise UsageError(f"{path} holds no samples", hint="see serve package --help for the formats")
    return split_samples(samples, signature) if split else samples


def split_samples(samples: Samples, signature: ModelSignature) -> Samples:
    """Cut samples of N rows into N samples of one row, where every input's first dim is free and equally long."""
    required = [tensor for tensor in signature.inputs if not tensor.optional]
    if not required or any(not tensor.shape or tensor.shape[0] != -1 for tensor in required):
        return samples
    return tuple(row for sample in samples for row in _split_rows(sample))


def _split_rows(sample: Sample) -> Samples:
    lengths = {array.shape[0] for array in sample.values()}
    if len(lengths) != 1 or lengths == {0}:
        return (sample,)
    return tuple({name: array[i : i + 1] for name, array in sample.items()} for i in range(lengths.pop()))


# --- the user's files ----------------------------------------------------------------------------------------------


def _read_named(path: Path, signature: ModelSignature) -> list[Sample]:
    if path.is_dir():
        return _read_folder(path, signature)
    if not path.exists():
        raise UsageError(f"samples: {path} does not exist")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return _group({name: arrays[name] for name in arrays.files}, signature)
        if path.suffix == ".npy":
            return [{_only_input(path, signature): np.load(path, allow_pickle=False)}]
        if path.suffix in (".json", ".jsonl"):
            return _read_json(path)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError, KeyError) as error:
        hint = "save strings as unicode arrays (dtype U), not as objects" if "pickle" in str(error).lower() else None
        raise UsageError(f"samples: {path} cannot be read: {error}", hint=hint) from error
    raise UsageError(
        f"samples: {path} is of no known kind", hint="give a .npz, .npy or KServe v2 .json file, or a folder of .npy"
    )


def _only_input(path: Path, signature: ModelSignature) -> str:
    required = [tensor.name for tensor in signature.inputs if not tensor.optional]
    if len(required) != 1:
        raise UsageError(
            f"samples: {path} is one array, but the model has {len(required)} inputs: {', '.join(required)}",
            hint="give a .npz with one array an input, or a folder with <input>.npy",
        )
    return required[0]


def _group(arrays: Mapping[str, np.ndarray[Any, Any]], signature: ModelSignature) -> list[Sample]:
    """One sample where the keys are input names; several where they are `<index>/<input name>`."""
    names = {tensor.name for tensor in signature.inputs}
    if set(arrays) <= names or not all("/" in key and key.split("/", 1)[0].isdigit() for key in arrays):
        return [dict(arrays)]
    groups: dict[int, Sample] = {}
    for key, array in arrays.items():
        index, name = key.split("/", 1)
        groups.setdefault(int(index), {})[name] = array
    return [groups[index] for index in sorted(groups)]


def _read_folder(path: Path, signature: ModelSignature) -> list[Sample]:
    folders = sorted((p for p in path.iterdir() if p.is_dir()), key=lambda p: (len(p.name), p.name))
    if folders and not any(path.glob("*.npy")):
        return [sample for folder in folders for sample in _read_folder(folder, signature)]
    files = {p.stem: p for p in sorted(path.glob("*.npy"))}
    if not files:
        raise UsageError(f"samples: {path} holds no .npy file")
    by_file_name = {_file_name(tensor.name): tensor.name for tensor in signature.inputs}
    try:
        if set(files) & set(by_file_name):
            return [{by_file_name.get(stem, stem): np.load(p, allow_pickle=False) for stem, p in files.items()}]
        name = _only_input(path, signature)
        return [{name: np.load(p, allow_pickle=False)} for p in files.values()]
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"samples: a file in {path} cannot be read: {error}") from error


def _file_name(input_name: str) -> str:
    """An input's name as a file can carry it."""
    return "".join("_" if character in '/\\:*?"<>|' else character for character in input_name)


def _read_json(path: Path) -> list[Sample]:
    text = path.read_text(encoding="utf-8")
    document = [json.loads(line) for line in text.splitlines() if line] if path.suffix == ".jsonl" else json.loads(text)
    requests = document if isinstance(document, list) else [document]
    return [_read_request(path, request) for request in requests]


def _read_request(path: Path, request: Any) -> Sample:
    try:
        return {
            tensor["name"]: _array(tensor["data"], DataType(tensor["datatype"])).reshape(tensor["shape"])
            for tensor in request["inputs"]
        }
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"samples: {path} is no KServe v2 request: {error} is missing or wrong",
            hint='it looks like {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}',
        ) from error


def _array(data: Any, data_type: DataType) -> np.ndarray[Any, Any]:
    return np.array(data, dtype=data_type.numpy_name)


# --- fitting them to the model -------------------------------------------------------------------------------------


def _fit_sample(origin: str, arrays: Mapping[str, np.ndarray[Any, Any]], signature: ModelSignature) -> list[Sample]:
    specs = {tensor.name: tensor for tensor in signature.inputs}
    unknown = [name for name in arrays if name not in specs]
    missing = [name for name, tensor in specs.items() if name not in arrays and not tensor.optional]
    if unknown or missing:
        problem = f"no array for input '{missing[0]}'" if missing else f"the model has no input '{unknown[0]}'"
        raise UsageError(f"samples: {origin}: {problem}", hint=f"the model's inputs: {', '.join(specs)}")
    cast = {name: _cast(origin, array, specs[name]) for name, array in arrays.items()}
    if all(array.ndim == len(specs[name].shape) + 1 for name, array in cast.items()):
        return _fit_stacked(origin, cast, specs)
    for name, array in cast.items():
        _check_shape(origin, array, specs[name])
    return [cast]


def _fit_stacked(origin: str, arrays: Sample, specs: Mapping[str, TensorSpec]) -> list[Sample]:
    counts = {array.shape[0] for array in arrays.values()}
    if len(counts) != 1:
        raise UsageError(f"samples: {origin}: the arrays stack different numbers of samples: {sorted(counts)}")
    rows = [{name: array[i] for name, array in arrays.items()} for i in range(counts.pop())]
    for row in rows:
        for name, array in row.items():
            _check_shape(origin, array, specs[name])
    return rows


def _check_shape(origin: str, array: np.ndarray[Any, Any], spec: TensorSpec) -> None:
    if not spec.fits(array.shape):
        raise UsageError(
            f"samples: {origin}: input '{spec.name}' has shape {list(array.shape)}, the model takes {list(spec.shape)}"
        )


def _cast(origin: str, array: np.ndarray[Any, Any], spec: TensorSpec) -> np.ndarray[Any, Any]:
    """Give the array the model's type where that changes no value beyond rounding a float."""
    wanted = np.dtype(spec.data_type.numpy_name)
    if spec.data_type is DataType.BYTES:
        if array.dtype.kind not in "OUS":
            raise UsageError(f"samples: {origin}: input '{spec.name}' takes strings, not {array.dtype}")
        return _as_text(array)
    kinds = {"b": "b", "i": "biu", "u": "biu", "f": "biuf"}[wanted.kind]
    if array.dtype.kind not in kinds:
        raise UsageError(
            f"samples: {origin}: input '{spec.name}' has type {array.dtype}, the model takes {spec.data_type.value}"
        )
    with np.errstate(over="ignore"):
        cast = array.astype(wanted)
    if wanted.kind in "iu" and not np.array_equal(cast, array):
        raise UsageError(f"samples: {origin}: input '{spec.name}' holds values that {spec.data_type.value} cannot hold")
    return cast


def _as_text(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    texts = [item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item) for item in array.flat]
    result = np.empty(array.shape, dtype=object)
    result.reshape(-1)[:] = texts
    return result


# --- samples.npz beside the model ----------------------------------------------------------------------------------


def write_samples(path: Path, samples: Sequence[Mapping[str, np.ndarray[Any, Any]]]) -> None:
    """Write samples as `<index>/<input name>` arrays; the same samples make the same bytes."""
    path.write_bytes(encode_samples(samples))


def encode_samples(samples: Iterable[Mapping[str, np.ndarray[Any, Any]]]) -> bytes:
    """The bytes of `samples.npz`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for index, sample in enumerate(samples):
            for name, array in sample.items():
                member = zipfile.ZipInfo(f"{index}/{name}.npy", _EPOCH)
                member.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(member, _encode_array(array))
    return buffer.getvalue()


def _encode_array(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    # Unicode arrays drop trailing NULs, which Triton cuts strings at anyway; they need no pickle.
    plain = array.astype(str) if array.dtype == object else np.asarray(array, order="C")
    np.save(buffer, plain, allow_pickle=False)
    return buffer.getvalue()


def load_samples(path: Path) -> Samples:
    """Read what `write_samples` wrote; InvalidModelError where it is something else."""
    groups: dict[int, Sample] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                index, name = member.removesuffix(".npy").split("/", 1)
                array = np.load(io.BytesIO(archive.read(member)), allow_pickle=False)
                groups.setdefault(int(index), {})[name] = array.astype(object) if array.dtype.kind == "U" else array
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise InvalidModelError(f"{path} cannot be read as samples: {error}", hint="package the model again") from error
    return tuple(groups[index] for index in sorted(groups))
