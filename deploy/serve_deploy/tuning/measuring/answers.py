"""What is sent, and what the files' configurations answer to it: every other configuration must answer the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.endpoint.inference import send_request
from serve_deploy.endpoint.model import Model
from serve_deploy.endpoint.payload import Outputs, Sample
from serve_deploy.files.staging import destination_errors
from serve_deploy.loadtest.options import LoadTestOptions
from serve_deploy.loadtest.requests.data import read_request_data
from serve_deploy.model_config.flows import Flow
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.samples.files import encode_samples
from serve_deploy.tensors.closeness import COMPUTED_ELSEWHERE, are_close
from serve_deploy.tuning.servers.servers import Served
from serve_deploy.tuning.task.options import TuneOptions

_MOST_SAMPLES = 64
_MOST_BYTES = 64 << 20
_RANDOM_SAMPLES = 16
_CONTROL_SECONDS = 30.0


@dataclass(frozen=True)
class Questions:
    """A server with the files' configurations, and a folder for what it is sent and answers."""

    served: Served
    folder: Path
    note: Callable[[str], None]

    def ask(self, model: Model, samples: Sequence[Sample]) -> list[Outputs]:
        """What the model answers to each sample alone."""
        return [send_request(self.served.endpoint, model, sample) for sample in samples]

    def describe(self, name: str) -> Model:
        """What a model takes and returns."""
        with ControlPlane(self.served.endpoint, timeout_seconds=_CONTROL_SECONDS) as control:
            return control.describe_model(name)

    def keep(self, name: str, what: str, arrays: Sequence[Mapping[str, object]]) -> Path:
        """Write what a model is sent or answers into a file."""
        path = self.folder / f"{name}.{what}.npz"
        with destination_errors(self.folder):
            path.write_bytes(encode_samples(arrays))  # type: ignore[arg-type]
        return path


def keep_samples(folder: ModelFolder, options: TuneOptions, questions: Questions) -> tuple[Path, tuple[Sample, ...]]:
    """The requests to send, in a file: the user's data, the package's samples, or several random ones."""
    samples = _read(folder, options, questions.served, questions.describe(folder.name))
    kept = samples[: _most(samples[0].inputs)]
    return questions.keep(folder.name, "requests", [sample.inputs for sample in kept]), tuple(kept)


def _read(folder: ModelFolder, options: TuneOptions, served: Served, model: Model) -> list[Sample]:
    def read(seed: int) -> tuple[Sample, ...]:
        own = options.data is None and folder.samples is not None
        asked = LoadTestOptions(
            endpoint=served.endpoint,
            model=folder.name,
            data=options.data,
            repository=folder.path.parent if own else None,
            shapes=options.shapes,
            seed=seed,
        )
        return read_request_data(asked, model).samples

    first = read(options.seed)
    if options.data is not None or folder.samples is not None:
        return list(first)
    return [*first, *(sample for seed in range(1, _RANDOM_SAMPLES) for sample in read(options.seed + seed))]


def keep_answers(name: str, samples: tuple[Sample, ...], questions: Questions) -> Path | None:
    """What the model answers to each sample alone, in a file; None where no output is the same when asked twice."""
    model = questions.describe(name)
    answers, again = questions.ask(model, samples), questions.ask(model, samples[:8])
    random = sorted({name for pair in zip(answers, again, strict=False) for name in _differing(*pair)})
    if random:
        questions.note(f"not compared, because it differs when asked twice: output {', '.join(random)} of {name}")
    compared = [{name: array for name, array in answer.items() if name not in random} for answer in answers]
    return questions.keep(name, "answers", compared) if compared[0] else None


def keep_member_samples(flow: Flow, samples: tuple[Sample, ...], questions: Questions) -> dict[str, Path]:
    """What each model of an ensemble is sent within it, in files by model: the steps are made one after the other."""
    tensors = [dict(sample.inputs) for sample in samples]
    sent: dict[str, list[Outputs]] = {}
    for step in flow.steps:
        inputs = [{own: each[tensor] for own, tensor in step.inputs.items() if tensor in each} for each in tensors]
        sent.setdefault(step.model, []).extend(inputs)
        answers = questions.ask(questions.describe(step.model), [Sample(each) for each in inputs])
        for each, answer in zip(tensors, answers, strict=True):
            each |= {tensor: answer[own] for own, tensor in step.outputs.items()}
    return {model: questions.keep(model, "requests", arrays[: _most(arrays[0])]) for model, arrays in sent.items()}


def _most(sample: Outputs) -> int:
    """How many such samples are kept."""
    return max(1, min(_MOST_SAMPLES, _MOST_BYTES // max(sum(array.nbytes for array in sample.values()), 1)))


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
