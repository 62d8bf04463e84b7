"""Send one request to a served model, and read its outputs."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.endpoint.readiness import wait_until_ready
from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.atomic import write_atomically
from serve_deploy.inference.inputs import read_inputs
from serve_deploy.inference.options import InferenceOptions
from serve_deploy.progress import Progress, silent
from serve_deploy.tensors.types import DataType

if TYPE_CHECKING:
    import numpy as np

    from serve_deploy.endpoint.model import Model

    Array = np.ndarray[Any, Any]

# What Triton's classification extension cannot rank.
_UNRANKED_TYPES = (DataType.BOOL, DataType.FP16, DataType.BF16, DataType.BYTES)


@dataclass(frozen=True)
class ClassScore:
    """One class as Triton ranks it."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class InferenceOutput:
    """One output: its values (BF16 as float32, strings as bytes), or each row's highest classes."""

    name: str
    data_type: str
    shape: tuple[int, ...]
    data: Array | None = None
    classes: tuple[tuple[ClassScore, ...], ...] = ()

    @property
    def readable(self) -> Array | None:
        """The values, with strings as text."""
        import numpy as np

        if self.data is None or self.data.dtype != object:
            return self.data
        return np.array([item.decode("utf-8", "replace") for item in self.data.flat], str).reshape(self.shape)


@dataclass(frozen=True)
class InferenceResult:
    """The reply to one request; `elapsed_seconds` is from sending it to the end of the reply."""

    url: str
    model: str
    version: str
    notes: tuple[str, ...]
    elapsed_seconds: float
    outputs: tuple[InferenceOutput, ...]


def infer(
    options: InferenceOptions, *, progress: Progress = silent, clock: Callable[[], float] = time.perf_counter
) -> InferenceResult:
    """Send one request; EndpointError where nothing answers or Triton refuses, UsageError where the inputs do not fit.

    Whether they fit is judged before sending, by the model's own metadata.
    """
    from serve_deploy.endpoint.control import ControlPlane
    from serve_deploy.endpoint.inference import send_request
    from serve_deploy.endpoint.payload import Sample

    if options.wait_seconds:
        wait_until_ready(
            options.endpoint, options.model, options.model_version,
            timeout_seconds=options.wait_seconds, progress=progress,
        )  # fmt: skip
    progress(f"asking {options.endpoint.url}")
    with ControlPlane(options.endpoint, timeout_seconds=options.timeout_seconds) as control:
        control.server_metadata()
        model = control.describe_model(options.model, options.model_version)
        config = control.model_config(options.model, options.model_version) if options.top else {}
    arrays, notes = _collect_inputs(model, options)
    wanted = _wanted_outputs(model, options, config)
    start = clock()
    answer = send_request(
        options.endpoint, model, Sample(arrays),
        version=options.model_version, wanted=wanted, timeout_seconds=options.timeout_seconds,
    )  # fmt: skip
    elapsed = clock() - start
    outputs = tuple(_read_output(model, name, array, ranked=wanted.get(name, 0) > 0) for name, array in answer.items())
    return InferenceResult(
        options.endpoint.url, model.name, options.model_version or model.version, tuple(notes), elapsed, outputs
    )


def save_outputs(result: InferenceResult, path: Path) -> None:
    """Write the outputs as .npz, strings as unicode, whole or not at all."""
    import numpy as np

    buffer = io.BytesIO()
    # Not np.savez: it takes the names as keywords, and has some of its own.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for output in result.outputs:
            if output.data is not None:
                with archive.open(f"{output.name}.npy", "w", force_zip64=True) as member:
                    np.save(member, output.readable, allow_pickle=False)  # type: ignore[arg-type]
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise DestinationError(f"{path} cannot be written: {error.strerror or error}") from error


def _collect_inputs(model: Model, options: InferenceOptions) -> tuple[dict[str, Array], list[str]]:
    arrays, notes = read_inputs(model, options.inputs, scale=options.image_scale)
    missing = [tensor for tensor in model.inputs if tensor.name not in arrays and not tensor.optional]
    if missing and not options.random:
        raise UsageError(
            f"there is no data for input {missing[0].name}",
            hint=f"give `inputs={missing[0].name}=…`, or `random`; {model.input_list}",
        )
    if missing:
        from serve_deploy.samples.random_requests import generate_sample

        made = generate_sample(model, shapes=dict(options.shapes), seed=options.seed, string_length=8).inputs
        arrays |= {tensor.name: made[tensor.name] for tensor in missing}
        notes += [f"{tensor.name}: random, shape {list(made[tensor.name].shape)}" for tensor in missing]
    return {tensor.name: arrays[tensor.name] for tensor in model.inputs if tensor.name in arrays}, notes


def _wanted_outputs(model: Model, options: InferenceOptions, config: Mapping[str, Any]) -> dict[str, int]:
    """The outputs to ask for, each with the number of classes or 0 for its values."""
    names = options.outputs or tuple(tensor.name for tensor in model.outputs)
    known = {tensor.name: tensor for tensor in model.outputs}
    for name in names:
        if name not in known:
            listed = "; ".join(map(str, model.outputs))
            raise UsageError(f"model {model.name} has no output '{name}'", hint=f"{model.name} returns {listed}")
    labelled = {
        entry["name"]
        for entry in config.get("output", [])
        if entry.get("label_filename") and known[entry["name"]].data_type not in _UNRANKED_TYPES
    }
    return {name: options.top or 0 if name in labelled else 0 for name in names}


def _read_output(model: Model, name: str, array: Array, *, ranked: bool) -> InferenceOutput:
    data_type = next(tensor.data_type.value for tensor in model.outputs if tensor.name == name)
    if not ranked:
        return InferenceOutput(name, data_type, array.shape, data=array)
    rows = array.reshape(-1, array.shape[-1])
    return InferenceOutput(name, data_type, array.shape, classes=tuple(tuple(map(_read_class, row)) for row in rows))


def _read_class(text: bytes) -> ClassScore:
    score, index, label = [*text.decode("utf-8", "replace").split(":", 2), "", ""][:3]
    return ClassScore(int(index), label, float(score))
