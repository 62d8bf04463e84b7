"""What the requests hold: the user's files, the packaged model's own samples, or data generated from the metadata."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.model import Model, with_served_ranks
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.manifest import SAMPLES_NAME
from serve_deploy.reports.point import RequestData
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.samples.files import load_samples, read_samples
from serve_deploy.samples.random_requests import generate_sample, request_shape
from serve_deploy.tensors.types import ModelSignature, TensorSpec
from serve_deploy.tensors.wire import decode_tensor

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Rows:
    """Samples of one row, and where they came from."""

    samples: tuple[Sample, ...]
    data: RequestData


def read_request_data(options: LoadTestOptions, model: Model) -> Rows:
    """The samples to send in rotation, each of `batch_size` rows; UsageError says what does not fit the model."""
    rows = _read_rows(options, model)
    samples = rows.samples
    for sample in samples:
        _check_sample(model, sample)
    if options.validate and not any(sample.outputs for sample in samples):
        if not options.repository:
            raise UsageError(
                "`validate` needs the outputs to expect",
                hint="give `expected`, `data` in perf_analyzer's JSON with validation_data, or the `repository`",
            )
        samples = _with_own_outputs(samples, options.repository, model)
    return Rows(batch_samples(samples, options.batch_size) if model.max_batch_size > 0 else samples, rows.data)


def _read_rows(options: LoadTestOptions, model: Model) -> Rows:
    if options.data:
        document = _read_perf_analyzer(options.data)
        if document:
            samples = _read_steps(options.data, document, model)
        else:
            samples = _with_expected(options, model, _read_samples(options.data, model.inputs, model))
        return Rows(samples, RequestData(origin="file", path=str(options.data), samples=len(samples)))
    if options.repository:
        path = _find_samples(options.repository, model.name)
        samples = _with_expected(options, model, load_samples(path))
        return Rows(samples, RequestData(origin="package", path=str(path), samples=len(samples)))
    shapes = dict(options.shapes)
    sample = generate_sample(model, shapes=shapes, seed=options.seed, string_length=options.string_length)
    return Rows((sample,), RequestData(origin="random", samples=1, seed=options.seed))


def _find_samples(repository: Path, model: str) -> Path:
    if not (repository / model).is_dir():
        there = sorted(folder.name for folder in repository.glob("[!.]*") if folder.is_dir())
        raise UsageError(
            f"`repository={repository}` has no model {model}",
            hint=f"it has {', '.join(there)}" if there else "name the folder that serve package wrote to",
        )
    path = repository / model / SAMPLES_NAME
    if not path.is_file():
        raise UsageError(
            f"`repository={repository}` has no samples of {model}: there is no {path}",
            hint="package the model again, give `data`, or send random data without `repository`",
        )
    return path


def _with_expected(options: LoadTestOptions, model: Model, samples: Sequence[Arrays]) -> tuple[Sample, ...]:
    outputs: Sequence[Arrays] = [{}] * len(samples)
    if options.expected:
        outputs = _read_samples(options.expected, model.outputs, model)
    if len(outputs) != len(samples):
        raise UsageError(f"`expected={options.expected}` has {len(outputs)} samples, the data has {len(samples)}")
    return tuple(Sample(dict(sample), dict(output)) for sample, output in zip(samples, outputs, strict=True))


def _read_samples(path: Path, tensors: Sequence[TensorSpec], model: Model) -> Sequence[Arrays]:
    return read_samples(path, ModelSignature(tuple(tensors), ()), split=model.max_batch_size > 0)


def _check_sample(model: Model, sample: Sample) -> None:
    for name, array in sample.inputs.items():
        request_shape(model, model.input_named(name), {name: array.shape[1:] if model.max_batch_size else array.shape})
    for tensor in model.inputs:
        if tensor.name not in sample.inputs and not tensor.optional:
            raise UsageError(f"there is no data for input {tensor.name}", hint=model.input_list)


def batch_samples(rows: Sequence[Sample], batch_size: int) -> tuple[Sample, ...]:
    """Join samples of one row into requests of `batch_size` rows, starting again where they run out."""
    starts = range(0, len(rows), batch_size)
    return tuple(_join([rows[(start + i) % len(rows)] for i in range(batch_size)]) for start in starts)


def _join(rows: Sequence[Sample]) -> Sample:
    def joined(parts: Sequence[Arrays]) -> dict[str, Array]:
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"samples of different shapes do not fit into one request: {error}", hint="use `batch_size=1`"
            ) from error

    return rows[0] if len(rows) == 1 else Sample(joined([r.inputs for r in rows]), joined([r.outputs for r in rows]))


def _with_own_outputs(samples: tuple[Sample, ...], repository: Path, model: Model) -> tuple[Sample, ...]:
    """The samples with what the model, or the steps of an ensemble, answer without Triton, as a client sees it."""
    from serve_deploy.references.models import find_run

    run, why = find_run(read_model_folder(repository / model.name), int(model.version))
    if run is None:
        raise UsageError(f"`validate`: {why}: nothing to compare with", hint="give the outputs with `expected`")
    return tuple(Sample(sample.inputs, with_served_ranks(model.outputs, run(sample.inputs))) for sample in samples)


# --- perf_analyzer's JSON ------------------------------------------------------------------------------------------


def _read_perf_analyzer(path: Path) -> dict[str, Any] | None:
    """{"data": [{input: [...] | {"content": …, "shape": …} | {"b64": …}}], "validation_data": […]}, or None."""
    if path.suffix != ".json" or not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"`data={path}` cannot be read: {error}") from error
    return document if isinstance(document, dict) and "data" in document else None


def _read_steps(path: Path, document: dict[str, Any], model: Model) -> tuple[Sample, ...]:
    steps, expected = (_flat(document.get(key, [])) for key in ("data", "validation_data"))
    if not steps:
        raise UsageError(f"`data={path}` has no samples", hint='its "data" is a list of requests')
    if expected and len(expected) != len(steps):
        raise UsageError(f"`data={path}` has {len(steps)} samples and {len(expected)} expected outputs")
    samples = [_read_step(path, step, model.inputs, model) for step in steps]
    wanted = [_read_step(path, step, model.outputs, model) for step in expected] or [{} for _ in steps]
    return tuple(Sample(sample, output) for sample, output in zip(samples, wanted, strict=True))


def _flat(steps: Any) -> list[Any]:
    # Sequences are lists of steps; one step after the other they are in the right order for a stateful model.
    return [step for item in steps for step in (item if isinstance(item, list) else [item])]


def _read_step(path: Path, step: Any, tensors: Sequence[TensorSpec], model: Model) -> dict[str, Array]:
    known = {tensor.name: tensor for tensor in tensors}
    arrays = {}
    for name, value in step.items():
        if name not in known:
            raise UsageError(f"`data={path}`: the model has no tensor '{name}'", hint=model.input_list)
        try:
            arrays[name] = _read_value(value, known[name], batched=model.max_batch_size > 0)
        except (ValueError, TypeError, KeyError, binascii.Error) as error:
            raise UsageError(f"`data={path}`: {name}: {error}", hint=model.input_list) from error
    return arrays


def _read_value(value: Any, tensor: TensorSpec, *, batched: bool) -> Array:
    content, shape = value, tensor.shape[1:] if batched else tensor.shape
    if isinstance(value, dict):
        content, shape = value.get("content", value), tuple(value.get("shape", shape))
    if isinstance(content, dict):
        array = decode_tensor(tensor.data_type, base64.b64decode(content["b64"], validate=True), (-1,))
    else:
        array = np.array(content, tensor.data_type.numpy_name).reshape(-1)
    if shape.count(-1) > 1:
        raise ValueError(f'its shape {list(shape)} has several free dims: give it as {{"content": …, "shape": …}}')
    return array.reshape((1, *shape) if batched else shape)
