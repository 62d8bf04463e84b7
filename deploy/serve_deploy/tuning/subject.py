"""What is tuned: a model of a repository, its configuration as the file says, and what may be changed in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.model_config import CONFIG_NAME, is_onnx
from serve_deploy.repository.model_folder import ModelFolder, list_folders, read_model_folder
from serve_deploy.tuning.candidates import (
    ACCELERATOR,
    BATCH,
    CACHE,
    DELAY,
    INSTANCES,
    MODE,
    PREFERRED,
    THREADS,
    Candidate,
    read_candidate,
)
from serve_deploy.tuning.options import TuneOptions

LARGEST_BATCH = 64
# Triton starts so many where the configuration does not say.
_DEFAULT_INSTANCES_ON_CPU = 2


@dataclass(frozen=True)
class Subject:
    """The model's folder and the candidate that its file describes.

    `largest_batch` is the largest max_batch_size to try; 0 where the model does not batch.
    """

    folder: ModelFolder
    baseline: Candidate
    largest_batch: int

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> Any:
        """The configuration as the file has it."""
        return self.folder.config

    @property
    def is_onnx(self) -> bool:
        """Whether Triton's ONNX Runtime backend serves it, so that its threads can be set."""
        return is_onnx(self.config)


def read_subject(options: TuneOptions) -> Subject:
    """Find the model; UsageError or InvalidModelError says why it cannot be tuned."""
    folder = _find_model(options)
    for error in folder.errors.values():
        raise error
    config = folder.config
    if folder.config_text is None:
        raise InvalidModelError(
            f"{folder.name} has no {CONFIG_NAME} to tune", hint="serve package writes one; Triton also prints its own"
        )
    _require_tunable(folder)
    paths = [INSTANCES]
    if config.max_batch_size:
        paths += [BATCH, DELAY, PREFERRED]
    if is_onnx(config):
        paths += [THREADS, MODE, ACCELERATOR]
    paths += [CACHE] if config.HasField("response_cache") else []
    paths += [path for path, _ in options.vary if path not in paths]
    baseline = read_candidate(config, tuple(paths))
    if baseline[INSTANCES] is None:
        baseline = Candidate.of(
            {**dict(baseline.values), INSTANCES: _DEFAULT_INSTANCES_ON_CPU if is_onnx(config) else 1}
        )
    return Subject(folder, baseline, _largest_batch(options, config.max_batch_size))


def _find_model(options: TuneOptions) -> ModelFolder:
    folders = {path.name: path for path in list_folders(options.repository) if not path.name.startswith(".")}
    there = ", ".join(sorted(folders)) or "no models"
    if len(options.models) > 1:
        raise UsageError(
            "several models at once cannot be tuned yet", hint="tune one after the other, each with `models`"
        )
    if not options.models and len(folders) != 1:
        raise UsageError(f"{options.repository} has {there}", hint="choose one with `models`")
    name = options.models[0] if options.models else next(iter(folders))
    if name not in folders:
        raise UsageError(f"`models={name}`: {options.repository} has no such model", hint=f"it has: {there}")
    return read_model_folder(folders[name])


def _require_tunable(folder: ModelFolder) -> None:
    config, why = folder.config, ""
    if folder.members:
        why = "it is an ensemble: tune each of its members"
    elif config.HasField("sequence_batching"):
        why = "it keeps state between requests, and its batches are bound to its sequences"
    elif config.model_transaction_policy.decoupled:
        why = "it is decoupled: a request may have many answers, or none"
    if why:
        raise UsageError(f"{folder.name} cannot be tuned: {why}", hint="serve loadtest measures it as it is")


def _largest_batch(options: TuneOptions, configured: int) -> int:
    if not configured:
        return 0
    return options.max_batch_size or max(LARGEST_BATCH, configured)
