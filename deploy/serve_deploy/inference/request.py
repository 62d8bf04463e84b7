"""Send one request to a served model, and read its outputs."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_deploy.endpoint.readiness import wait_until_ready
from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.files.atomic import write_atomically
from serve_deploy.inference.missing_inputs import collect_inputs
from serve_deploy.inference.options import InferenceOptions
from serve_deploy.inference.ranking import (
    ClassScore,
    can_be_labelled,
    can_be_ranked,
    pair_labels,
    rank,
    read_labels,
    split_rows,
)
from serve_deploy.inference.sequence import sequence_parameters
from serve_deploy.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np

    from serve_deploy.endpoint.model import Model

    Array = np.ndarray[Any, Any]

_LABELLED_CLASSES = 5


@dataclass(frozen=True)
class InferenceOutput:
    """One output: its values (BF16 as float32, strings as bytes), and each row's highest classes where it has any.

    `part_of` names the output whose classes these values are in, where the model returns labels itself.
    """

    name: str
    data_type: str
    shape: tuple[int, ...]
    data: Array
    classes: tuple[tuple[ClassScore, ...], ...] = ()
    part_of: str = ""

    @property
    def readable(self) -> Array:
        """The values, with strings as text."""
        import numpy as np

        if self.data.dtype != object:
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
        config = control.model_config(options.model, options.model_version) if options.top != 0 else {}
    _refuse_decoupled(model)
    sequence = sequence_parameters(options, model)
    arrays, notes = collect_inputs(model, options)
    wanted = _wanted_outputs(model, options)
    labelled = _labelled_outputs(model, config, wanted)
    send = partial(
        send_request,
        options.endpoint,
        model,
        Sample(arrays),
        version=options.model_version,
        timeout_seconds=options.timeout_seconds,
    )
    start = clock()
    answer = send(wanted=dict.fromkeys(wanted, 0), parameters=sequence)
    elapsed = clock() - start
    labels: dict[str, dict[int, str]] = {name: {} for name in labelled}
    if labelled and sequence:
        notes.append("classes without their labels: asking for those too would go on with the sequence")
    elif labelled:
        labels |= _ask_labels(model, answer, labelled, send)
    read = [_read_output(model, options, name, array, labels.get(name)) for name, array in answer.items()]
    outputs = join_labels(read, options.top, batched=model.max_batch_size > 0)
    return InferenceResult(
        options.endpoint.url, model.name, options.model_version or model.version, tuple(notes), elapsed, outputs
    )


def _refuse_decoupled(model: Model) -> None:
    if model.is_decoupled:
        raise UsageError(
            f"{model.name} is decoupled: it may answer a request many times, or never",
            hint=f"ask it by curl at /v2/models/{model.name}/generate_stream, or measure it: "
            f"serve loadtest URL -m {model.name} --generate auto (--streaming where it takes no text)",
        )


def save_outputs(result: InferenceResult, path: Path) -> None:
    """Write the outputs as .npz, strings as unicode, whole or not at all."""
    import numpy as np

    buffer = io.BytesIO()
    # Not np.savez: it takes the names as keywords, and has some of its own.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for output in result.outputs:
            with archive.open(f"{output.name}.npy", "w", force_zip64=True) as member:
                np.save(member, output.readable, allow_pickle=False)
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise DestinationError(f"{path} cannot be written: {error.strerror or error}") from error


def _wanted_outputs(model: Model, options: InferenceOptions) -> tuple[str, ...]:
    known = [tensor.name for tensor in model.outputs]
    for name in options.outputs:
        if name not in known:
            listed = "; ".join(map(str, model.outputs))
            raise UsageError(f"model {model.name} has no output '{name}'", hint=f"{model.name} returns {listed}")
    return options.outputs or tuple(known)


def _labelled_outputs(model: Model, config: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    labelled = {entry["name"] for entry in config.get("output", []) if entry.get("label_filename")}
    types = {tensor.name: tensor.data_type for tensor in model.outputs}
    return [name for name in names if name in labelled and can_be_labelled(types[name])]


def _ask_labels(
    model: Model, answer: Mapping[str, Array], names: list[str], send: Callable[..., Mapping[str, Array]]
) -> dict[str, dict[int, str]]:
    # Of an output, Triton returns the values or the names of its classes; this request is for the names.
    batched = model.max_batch_size > 0
    sizes = {name: split_rows(answer[name], batched=batched).shape[1] for name in names if answer[name].size}
    return {name: read_labels(classes) for name, classes in send(wanted=sizes).items()} if sizes else {}


def join_labels(outputs: list[InferenceOutput], top: int | None, *, batched: bool) -> tuple[InferenceOutput, ...]:
    """Strings beside floats of the same shape are labels and their scores, and integers beside them the indices."""
    for labels in outputs:
        alike = [other for other in outputs if other.shape == labels.shape and other.shape and other.data.size]
        scores = [other for other in alike if other.data.dtype.kind == "f"]
        indices = [other for other in alike if other.data.dtype.kind in "iu"]
        if labels.data_type != "BYTES" or len(scores) != 1 or len(indices) > 1 or top == 0:
            continue
        rows = [split_rows(other.data, batched=batched)[:, :top] for other in (labels, *scores, *indices)]
        classes = pair_labels(rows[0], rows[1], rows[2] if indices else None)
        parts = [other.name for other in (*scores, *indices)]
        return tuple(
            replace(output, classes=classes)
            if output is labels
            else replace(output, part_of=labels.name, classes=())
            if output.name in parts
            else output
            for output in outputs
        )
    return tuple(outputs)


def _read_output(
    model: Model, options: InferenceOptions, name: str, array: Array, labels: Mapping[int, str] | None
) -> InferenceOutput:
    data_type = next(tensor.data_type for tensor in model.outputs if tensor.name == name)
    count = options.top if options.top is not None else _LABELLED_CLASSES if labels is not None else 0
    classes: tuple[tuple[ClassScore, ...], ...] = ()
    if count and array.size and can_be_ranked(data_type):
        rows = split_rows(array, batched=model.max_batch_size > 0)
        classes = tuple(rank(row, count, labels or {}) for row in rows) if rows.shape[1] > 1 else ()
    return InferenceOutput(name, data_type.value, array.shape, array, classes)
