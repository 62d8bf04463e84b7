"""What is tuned: models of a repository, their configurations as the files say, and what may be changed in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.loadtest.options.mix import weigh
from serve_deploy.model_config import CONFIG_NAME, is_onnx, named_config_path
from serve_deploy.model_config.flows import Flow, read_flow
from serve_deploy.repository.model_folder import ModelFolder, list_folders, read_model_folder, require_repository
from serve_deploy.tuning.candidates.candidate import (
    ACCELERATOR,
    BATCH,
    CACHE,
    DELAY,
    INSTANCES,
    MODE,
    PREFERRED,
    THREADS,
    Candidate,
    split_path,
)
from serve_deploy.tuning.candidates.fields import configure, read_candidate
from serve_deploy.tuning.candidates.vary import require_possible, vary_of
from serve_deploy.tuning.task.options import TuneOptions

LARGEST_BATCH = 64
Stamp = tuple[tuple[str, int, int], ...]
# Triton starts so many where the configuration does not say.
_DEFAULT_INSTANCES_ON_CPU = 2


@dataclass(frozen=True)
class Part:
    """A model whose configuration is tuned: its folder, and the candidate that its file describes.

    `largest_batch` is the largest batch that any candidate makes, the file's own included; 0 where the model does not
    batch. `prefix` is what stands before its paths in a candidate: its name where several are tuned together.
    """

    folder: ModelFolder
    baseline: Candidate
    largest_batch: int
    prefix: str = ""

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

    def choose(self, options: TuneOptions) -> TuneOptions:
        """The options with what they say of this model, by paths without it."""
        return replace(options, vary=vary_of(options.vary, self.name))


@dataclass(frozen=True)
class Target:
    """A model or ensemble that clients call, and its share of their requests by weight."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Subject:
    """All that is tuned together: the parts, the ensembles that run them (inner ones first), and what is called."""

    parts: tuple[Part, ...]
    targets: tuple[Target, ...]
    ensembles: tuple[ModelFolder, ...] = ()
    # What was in each model's folder when it was read, by its name.
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What is called."""
        return ", ".join(target.name for target in self.targets)

    @property
    def weights(self) -> dict[str, float]:
        """How often each target is called, in proportion."""
        return {target.name: target.weight for target in self.targets}

    @cached_property
    def baseline(self) -> Candidate:
        """What the files say."""
        return Candidate.join(part.baseline.placed(part.prefix) for part in self.parts)

    @property
    def folders(self) -> Mapping[str, ModelFolder]:
        """The folder of every model that is loaded."""
        return {folder.name: folder for folder in (*(part.folder for part in self.parts), *self.ensembles)}

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """How a request goes through each ensemble that is called."""
        configs = {name: folder.config for name, folder in self.folders.items()}
        called = {target.name for target in self.targets}
        return tuple(read_flow(folder.name, configs) for folder in self.ensembles if folder.name in called)

    def of(self, candidate: Candidate) -> Subject:
        """What a candidate is about: everything, or one part alone, where it says nothing of the others."""
        parts = tuple(part for part in self.parts if candidate.of_model(part.prefix).values)
        if len(parts) == len(self.parts):
            return self
        return Subject(parts, tuple(Target(part.name) for part in parts))

    def configs(self, candidate: Candidate) -> dict[str, Any]:
        """The configurations of all that a candidate is about, members before the ensembles that run them."""
        about = self.of(candidate)
        configs = {part.name: configure(part.config, candidate.of_model(part.prefix)) for part in about.parts}
        for folder in about.ensembles:
            config = type(folder.config)()
            config.CopyFrom(folder.config)
            configs[folder.name] = config
            if candidate == self.baseline:
                continue
            # Triton refuses an ensemble whose batches are larger than its members take.
            most = [configs[name].max_batch_size for name in folder.members]
            config.max_batch_size = min([config.max_batch_size, *filter(None, most)])
        return configs


def read_subject(options: TuneOptions) -> Subject:
    """Find the models; UsageError or InvalidModelError says why they cannot be tuned."""
    called = _find_models(options)
    if options.data is not None and len(called) > 1:
        raise UsageError(
            f"`data={options.data}` holds requests of one model, not of {len(called)}",
            hint="leave it out: the samples in the models' folders are sent, or random data",
        )
    folders: dict[str, ModelFolder] = {}
    for folder in called:
        _add_with_members(folder, folders, ())
    folders = _choose_named(folders, options.model_config_name)
    members = [folder for folder in folders.values() if not folder.members]
    names = [folder.name for folder in members]
    for path, _ in options.vary:
        if (model := split_path(path)[0]) not in ("", *names):
            raise UsageError(f"`vary={path}`: {model} is not tuned", hint=f"these are: {', '.join(names)}")
    is_one = len(members) == len(folders) == 1
    asked = [folder.name for folder in called]
    parts = tuple(_read_part(folder, options, "" if is_one else folder.name) for folder in members)
    _require_vary(options, parts)
    return Subject(
        parts=parts,
        targets=tuple(map(Target, asked, weigh(asked, options.weights))),
        ensembles=tuple(folder for folder in folders.values() if folder.members),
        stamps={name: stamp(folder) for name, folder in folders.items()},
    )


def stamp(folder: ModelFolder) -> Stamp:
    """The same as long as no file in a model's folder is changed, the manifest included."""
    paths = sorted(path for path in folder.path.rglob("*") if path.is_file())
    return tuple((str(path), (found := path.stat()).st_size, found.st_mtime_ns) for path in paths)


def _require_vary(options: TuneOptions, parts: tuple[Part, ...]) -> None:
    most = {BATCH: ("max_batch_size", options.max_batch_size), INSTANCES: ("max_instances", options.max_instances)}
    for path, values in options.vary:
        model = split_path(path)[0]
        require_possible(path, values, [part.largest_batch for part in parts if model in ("", part.name)], most)


def _choose_named(folders: dict[str, ModelFolder], name: str) -> dict[str, ModelFolder]:
    """Each model with its configuration of that name, where it has one; UsageError where none has."""
    chosen = {each: folder.under(name) for each, folder in folders.items()} if name else folders
    if name and all(folder.config_path == CONFIG_NAME for folder in chosen.values()):
        there = sorted({each for folder in folders.values() for each in folder.named})
        raise UsageError(
            f"`model_config_name={name}`: no model to tune has {named_config_path(name)}",
            hint=f"there are: {', '.join(there)}" if there else "serve package --for writes them",
        )
    return chosen


def _find_models(options: TuneOptions) -> tuple[ModelFolder, ...]:
    folders = {path.name: path for path in list_folders(options.repository) if not path.name.startswith(".")}
    there = ", ".join(sorted(folders))
    if not folders:
        raise UsageError(f"{options.repository} contains no models", hint="name a model repository")
    if not options.models and len(folders) != 1:
        require_repository(options.repository)
        raise UsageError(f"{options.repository} has several models: {there}", hint="name those to tune with `models`")
    names = tuple(dict.fromkeys(options.models or folders))
    for name in names:
        if name not in folders:
            require_repository(options.repository)
            raise UsageError(f"`models={name}`: {options.repository} has no such model", hint=f"it has: {there}")
    return tuple(read_model_folder(folders[name]) for name in names)


def _add_with_members(folder: ModelFolder, found: dict[str, ModelFolder], callers: tuple[str, ...]) -> None:
    """Add a model behind those that it runs; InvalidModelError where one cannot be read, is missing or calls itself."""
    for error in folder.errors.values():
        raise error
    if folder.name in callers:
        raise InvalidModelError(
            f"the ensembles run each other in a circle: {' → '.join((*callers, folder.name))}",
            hint="serve check explains what is wrong",
        )
    for member in folder.members:
        if member in found:
            continue
        try:
            inner = read_model_folder(folder.path.parent / member)
        except FileNotFoundError as error:
            raise InvalidModelError(
                f"ensemble {folder.name} calls {member}, which the repository does not contain",
                hint="put the folder of every member beside the ensemble's",
            ) from error
        _add_with_members(inner, found, (*callers, folder.name))
    found.setdefault(folder.name, folder)


def _read_part(folder: ModelFolder, options: TuneOptions, prefix: str) -> Part:
    _require_tunable(folder)
    config = folder.config
    paths = [*_tuned_paths(config)]
    own = Part(folder, Candidate(()), 0, prefix)
    chosen = own.choose(options)
    paths += [path for path, _ in chosen.vary if path not in paths]
    baseline = read_candidate(config, tuple(paths))
    if baseline[INSTANCES] is None:
        baseline = baseline.changed({INSTANCES: _DEFAULT_INSTANCES_ON_CPU if is_onnx(config) else 1})
    return replace(own, baseline=baseline, largest_batch=_largest_batch(chosen, config.max_batch_size))


def _tuned_paths(config: Any) -> Iterator[str]:
    yield INSTANCES
    if config.max_batch_size:
        yield from (BATCH, DELAY, PREFERRED)
    if is_onnx(config):
        yield from (THREADS, MODE, ACCELERATOR)
    if config.HasField("response_cache"):
        yield CACHE


def _require_tunable(folder: ModelFolder) -> None:
    config, why = folder.config, ""
    if folder.config_text is None:
        raise InvalidModelError(
            f"{folder.name} has no {CONFIG_NAME} to tune", hint="serve package writes one; Triton also prints its own"
        )
    if config.HasField("sequence_batching"):
        why = "it keeps state between requests, and its batches are bound to its sequences"
    elif config.model_transaction_policy.decoupled:
        why = "it is decoupled: a request may have many answers, or none"
    if why:
        raise UsageError(f"{folder.name} cannot be tuned: {why}", hint="serve loadtest measures it as it is")


def _largest_batch(options: TuneOptions, configured: int) -> int:
    if not configured:
        return 0
    asked = [size for path, sizes in options.vary if path == BATCH for size in sizes if type(size) is int]
    return max(options.max_batch_size or max(LARGEST_BATCH, *asked, 0), configured)
