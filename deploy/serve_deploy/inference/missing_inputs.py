"""The inputs that are not given: from the samples of the model's package, or made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import UsageError
from serve_deploy.inference.inputs import fit_input, read_inputs
from serve_deploy.inference.options import InferenceOptions
from serve_deploy.manifest import SAMPLES_NAME

if TYPE_CHECKING:
    import numpy as np

    from serve_deploy.endpoint.model import Model
    from serve_deploy.tensors.types import TensorSpec

    Array = np.ndarray[Any, Any]


def collect_inputs(model: Model, options: InferenceOptions) -> tuple[dict[str, Array], list[str]]:
    """Every input that the model needs, and what was done to get it; UsageError where one is missing."""
    arrays, notes = read_inputs(model, options.inputs, scale=options.image_scale)
    missing = [tensor for tensor in model.inputs if tensor.name not in arrays and not tensor.optional]
    if missing:
        found, origin = _find(model, options, missing)
        rows = next((len(array) for array in arrays.values()), 1) if model.max_batch_size else 1
        for tensor in missing:
            array = found[tensor.name].repeat(rows, axis=0) if rows > 1 else found[tensor.name]
            arrays[tensor.name] = array
            notes.append(f"{tensor.name}: {origin}, shape {list(array.shape)}")
    return {tensor.name: arrays[tensor.name] for tensor in model.inputs if tensor.name in arrays}, notes


def _find(model: Model, options: InferenceOptions, missing: Sequence[TensorSpec]) -> tuple[Mapping[str, Array], str]:
    if options.random:
        from serve_deploy.samples.random_requests import generate_sample

        made = generate_sample(model, shapes=dict(options.shapes), seed=options.seed, string_length=8)
        return made.inputs, "random"
    if options.repository:
        sample = _read_sample(options.repository / model.name / SAMPLES_NAME, options.sample)
        for tensor in missing:
            if tensor.name not in sample:
                raise UsageError(f"sample {options.sample} has no input {tensor.name}", hint=model.input_list)
        fitted = {tensor.name: fit_input(model, tensor, sample[tensor.name]) for tensor in missing}
        return fitted, f"sample {options.sample} of the package"
    name = missing[0].name
    raise UsageError(
        f"there is no data for input {name}",
        hint=f"give `inputs={name}=…`, the package's samples with `repository`, or `random`; {model.input_list}",
    )


def _read_sample(path: Path, number: int) -> Mapping[str, Array]:
    from serve_deploy.samples.files import load_samples

    if not path.is_file():
        raise UsageError(
            f"{path.parent} has no samples",
            hint="serve package keeps some beside the model; give `inputs`, or make up values with `random`",
        )
    samples = load_samples(path)
    if number >= len(samples):
        raise UsageError(f"`sample={number}`: {path} has {len(samples)}, counted from 0")
    return samples[number]
