"""What is sent, and what the file's configuration answers to it: every other configuration must answer the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.inference import send_request
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Outputs, Sample
from serve_deploy.files.staging import destination_errors
from serve_deploy.loadtest.data import read_request_data
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.samples.files import encode_samples
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, are_close
from serve_deploy.tuning.options import TuneOptions
from serve_deploy.tuning.servers import Served
from serve_deploy.tuning.subject import Subject

_MOST_SAMPLES = 64
_MOST_BYTES = 64 << 20
_RANDOM_SAMPLES = 16
_CONTROL_SECONDS = 30.0


def keep_samples(
    subject: Subject, options: TuneOptions, served: Served, folder: Path
) -> tuple[Path, tuple[Sample, ...]]:
    """The requests to send, in a file: the user's data, the package's samples, or several random ones."""
    with ControlPlane(served.endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
        model = control.describe_model(subject.name)
    samples = _read(subject, options, served, model)
    size = sum(array.nbytes for array in samples[0].inputs.values())
    kept = samples[: max(1, min(_MOST_SAMPLES, _MOST_BYTES // max(size, 1)))]
    path = folder / "requests.npz"
    with destination_errors(folder):
        path.write_bytes(encode_samples([sample.inputs for sample in kept]))
    return path, tuple(kept)


def _read(subject: Subject, options: TuneOptions, served: Served, model: Model) -> list[Sample]:
    def read(seed: int) -> tuple[Sample, ...]:
        own = options.data is None and subject.folder.samples is not None
        asked = LoadTestOptions(
            endpoint=served.endpoint,
            model=subject.name,
            data=options.data,
            repository=subject.folder.path.parent if own else None,
            shapes=options.shapes,
            seed=seed,
        )
        return read_request_data(asked, model).samples

    first = read(options.seed)
    if options.data is not None or subject.folder.samples is not None:
        return list(first)
    return [*first, *(sample for seed in range(1, _RANDOM_SAMPLES) for sample in read(options.seed + seed))]


def keep_answers(
    subject: Subject, served: Served, samples: tuple[Sample, ...], folder: Path, note: Callable[[str], None]
) -> Path | None:
    """What the model answers to each sample alone, in a file; None where no output is the same when asked twice."""
    with ControlPlane(served.endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
        model = control.describe_model(subject.name)
    answers = [send_request(served.endpoint, model, sample) for sample in samples]
    again = [send_request(served.endpoint, model, sample) for sample in samples[:8]]
    random = sorted({name for pair in zip(answers, again, strict=False) for name in _differing(*pair)})
    if random:
        note(f"not compared, because it differs when asked twice: output {', '.join(random)}")
    compared = [{name: array for name, array in answer.items() if name not in random} for answer in answers]
    if not compared[0]:
        return None
    path = folder / "answers.npz"
    with destination_errors(folder):
        path.write_bytes(encode_samples(compared))
    return path


def _differing(first: Outputs, second: Outputs) -> set[str]:
    return {
        name
        for name, array in first.items()
        if name not in second
        or array.shape != second[name].shape
        or (
            not are_close(second[name].astype("float64"), array.astype("float64"), COMPUTED_ELSEWHERE)
            if array.dtype.kind == "f"
            else not (array == second[name]).all()
        )
    }
