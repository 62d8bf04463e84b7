"""What the requests hold: the user's files, the packaged model's own samples, or data generated from the metadata."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Sample
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.own_outputs import with_own_outputs
from serve_deploy.manifest import SAMPLES_NAME
from serve_deploy.samples.files import load_samples, read_samples
from serve_deploy.samples.random_requests import generate_sample, request_shape
from serve_deploy.tensors.types import ModelSignature, TensorSpec
from serve_deploy.tensors.wire import decode_tensor

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def read_request_data(options: LoadTestOptions, model: Model) -> tuple[Sample, ...]:
    """The samples to send in rotation, each of `batch_size` rows; UsageError says what does not fit the model."""
    rows = _read_rows(options, model)
    if options.validate and options.repository and not any(sample.outputs for sample in rows):
        rows = with_own_outputs(rows, options.repository, model)
    if options.validate and not any(sample.outputs for sample in rows):
        raise UsageError(
            "--validate: there are no outputs to expect",
            hint="give them with --expected, as validation_data in perf_analyzer's JSON, or name the --repository",
        )
    for sample in rows:
        check_sample(model, sample)
    return batch_samples(rows, options.batch_size) if model.max_batch_size > 0 else rows


def _read_rows(options: LoadTestOptions, model: Model) -> tuple[Sample, ...]:
    if options.data:
        if _is_perf_analyzer_json(options.data):
            return read_perf_analyzer_json(options.data, model)
        samples = read_samples(options.data, ModelSignature(model.inputs, ()), split=model.max_batch_size > 0)
        return _with_outputs(samples, options, model)
    path = options.repository / model.name / SAMPLES_NAME if options.repository else None
    if path and path.is_file():
        return _with_outputs(load_samples(path), options, model)
    shapes = dict(options.shapes)
    return (generate_sample(model, shapes=shapes, seed=options.seed, string_length=options.string_length),)


def _with_outputs(samples: Sequence[Arrays], options: LoadTestOptions, model: Model) -> tuple[Sample, ...]:
    if not options.expected:
        return tuple(Sample(dict(sample)) for sample in samples)
    outputs = read_samples(options.expected, ModelSignature(model.outputs, ()), split=model.max_batch_size > 0)
    if len(outputs) != len(samples):
        raise UsageError(f"--expected {options.expected} holds {len(outputs)} samples, the data {len(samples)}")
    return tuple(Sample(dict(sample), dict(output)) for sample, output in zip(samples, outputs, strict=True))


def check_sample(model: Model, sample: Sample) -> None:
    """UsageError where an input is unknown, missing or of a shape that the model does not take."""
    for name, array in sample.inputs.items():
        request_shape(model, model.input_named(name), {name: array.shape[1:] if model.max_batch_size else array.shape})
    for tensor in model.inputs:
        if tensor.name not in sample.inputs and not tensor.optional:
            raise UsageError(f"there is no data for input {tensor.name}", hint=model.input_list)


def batch_samples(rows: Sequence[Sample], batch_size: int) -> tuple[Sample, ...]:
    """Join samples of one row into requests of `batch_size` rows, going round where they run out."""
    if batch_size == 1:
        return tuple(rows)
    starts = range(0, len(rows), batch_size)
    return tuple(_join([rows[(start + i) % len(rows)] for i in range(batch_size)]) for start in starts)


def _join(rows: Sequence[Sample]) -> Sample:
    def joined(parts: Sequence[Arrays]) -> dict[str, Array]:
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"samples of different shapes do not go into one request: {error}", hint="use --batch-size 1"
            ) from error

    return Sample(joined([row.inputs for row in rows]), joined([row.outputs for row in rows]))


# --- perf_analyzer's JSON ------------------------------------------------------------------------------------------


def _is_perf_analyzer_json(path: Path) -> bool:
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UsageError(f"--data {path} cannot be read: {error}") from error
    return isinstance(document, dict) and "data" in document


def read_perf_analyzer_json(path: Path, model: Model) -> tuple[Sample, ...]:
    """Read {"data": [{input: [...] | {"content": …, "shape": …} | {"b64": …}}], "validation_data": […]}."""
    document = json.loads(path.read_text(encoding="utf-8"))
    inputs = {tensor.name: tensor for tensor in model.inputs}
    outputs = {tensor.name: tensor for tensor in model.outputs}
    steps, expected = _flat(document["data"]), _flat(document.get("validation_data", []))
    if not steps or (expected and len(expected) != len(steps)):
        raise UsageError(f"--data {path} holds {len(steps)} samples and {len(expected)} expected outputs")
    samples = [_read_step(path, step, inputs, model) for step in steps]
    wanted = [_read_step(path, step, outputs, model) for step in expected] or [{} for _ in steps]
    return tuple(Sample(sample, output) for sample, output in zip(samples, wanted, strict=True))


def _flat(steps: Any) -> list[Any]:
    # Sequences are lists of steps; one step after the other they are in the right order for a stateful model.
    return [step for item in steps for step in (item if isinstance(item, list) else [item])]


def _read_step(path: Path, step: Any, tensors: Mapping[str, TensorSpec], model: Model) -> dict[str, Array]:
    arrays = {}
    for name, value in step.items():
        if name not in tensors:
            raise UsageError(f"--data {path}: the model has no tensor {name!r}", hint=model.input_list)
        try:
            arrays[name] = _read_value(value, tensors[name], batched=model.max_batch_size > 0)
        except (ValueError, TypeError, KeyError, binascii.Error) as error:
            raise UsageError(f"--data {path}: {name}: {error}", hint=model.input_list) from error
    return arrays


def _read_value(value: Any, tensor: TensorSpec, *, batched: bool) -> Array:
    served = tensor.shape[1:] if batched else tensor.shape
    content, shape = value, served
    if isinstance(value, dict):
        content, shape = value.get("content", value), tuple(value.get("shape", served))
    if isinstance(content, dict):
        raw = base64.b64decode(content["b64"], validate=True)
        array = decode_tensor(tensor.data_type, raw, (-1,))
    else:
        array = np.array(content, tensor.data_type.numpy_name).reshape(-1)
    if sum(dim == -1 for dim in shape) > 1:
        raise ValueError(f"its shape {list(shape)} has several free dims: give it as {{'content': …, 'shape': …}}")
    return array.reshape((1, *shape) if batched else shape)
