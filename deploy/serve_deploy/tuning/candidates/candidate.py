"""A candidate: fields of a configuration with other values than the file's. Pure.

Where several models are tuned together, a path has its model in front: `encoder:max_batch_size`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

# A number, a word, a list of numbers; None: the field is not set.
Value = int | float | str | bool | tuple[int, ...] | None
Setting = tuple[tuple[str, Value], ...]

BATCH = "max_batch_size"
DELAY = "dynamic_batching.max_queue_delay_microseconds"
PREFERRED = "dynamic_batching.preferred_batch_size"
INSTANCES = "instance_group.count"
THREADS = "parameters.intra_op_thread_count"
MODE = "parameters.execution_mode"
ACCELERATOR = "accelerator"
CACHE = "response_cache.enable"
# What the twin knows how to simulate; every other field changes how long an execution takes, which is measured.
SCHEDULING = (BATCH, DELAY, PREFERRED, INSTANCES)
_PATH = re.compile(r"(?:(?P<model>(?!parameters\.).+?):)?(?P<field>parameters\..*|[^:]*)")

_NAMES = {
    BATCH: "max_batch_size",
    DELAY: "delay",
    PREFERRED: "preferred sizes",
    INSTANCES: "instances",
    THREADS: "threads",
    MODE: "execution mode",
    CACHE: "response cache",
}


@dataclass(frozen=True)
class Candidate:
    """Values by path, in the order of the paths."""

    values: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Candidate:
        """A candidate with these values."""
        return cls(tuple(sorted(values.items())))

    def __getitem__(self, path: str) -> Value:
        return dict(self.values).get(path)

    def changed(self, values: Mapping[str, Value]) -> Candidate:
        """The same with these values."""
        return Candidate.of({**dict(self.values), **values})

    def number(self, path: str) -> int:
        """A whole number; 0 where it is not set."""
        value = self[path]
        return int(value) if isinstance(value, int | float) else 0

    def of_model(self, model: str) -> Candidate:
        """What it says of one model, by paths without the model; of "" all paths that have none."""
        return Candidate(tuple((field, value) for field, value in _fields_of(self.values, model)))

    def placed(self, model: str) -> Candidate:
        """The same values by paths with the model in front; without a model as they are."""
        return Candidate.of({join_path(model, path): value for path, value in self.values})

    @classmethod
    def join(cls, candidates: Iterable[Candidate]) -> Candidate:
        """One candidate with the values of all."""
        return cls.of(dict(pair for each in candidates for pair in each.values))

    def largest(self, field: str) -> int:
        """The largest whole number that any model has in this field; 0 where none is set."""
        found = [value for path, value in self.values if split_path(path)[1] == field and isinstance(value, int)]
        return max(found, default=0)

    @property
    def setting(self) -> Setting:
        """What decides how long an execution takes, beside the size of the batch and how many execute."""
        return tuple((path, value) for path, value in self.values if path not in SCHEDULING)

    def describe(self, baseline: Candidate | None = None) -> str:
        """Its values in words; with a baseline only what differs from it."""
        if self == baseline:
            return "current configuration"
        old = dict(baseline.values) if baseline else {}
        changed = [(path, value) for path, value in self.values if not baseline or old.get(path) != value]
        by_model: dict[str, list[tuple[str, Value]]] = {}
        for path, value in changed:
            model, field = split_path(path)
            by_model.setdefault(model, []).append((field, value))
        return "; ".join(
            (f"{model}: " if model else "")
            + ", ".join(describe_value(*each) for each in sorted(own, key=_by_importance))
            for model, own in by_model.items()
        )


def split_path(path: str) -> tuple[str, str]:
    """The model in front of a path ("" where there is none), and the field of its configuration.

    The names of models and of parameters may have colons, those of other fields have none.
    """
    found = _PATH.fullmatch(path)
    return (found["model"] or "", found["field"]) if found else ("", path)


def join_path(model: str, field: str) -> str:
    """A path with its model in front."""
    return f"{model}:{field}" if model else field


def _fields_of(values: Iterable[tuple[str, Value]], model: str) -> Iterator[tuple[str, Value]]:
    for path, value in values:
        owner, field = split_path(path)
        if owner == model:
            yield field, value


def _by_importance(item: tuple[str, Value]) -> tuple[int, str]:
    known = list(_NAMES)
    return (known.index(item[0]) if item[0] in known else len(known)), item[0]


def describe_value(path: str, value: Value) -> str:
    """Such as "delay 500 µs", "2 instances" or "encoder: 2 instances"."""
    model, path = split_path(path)
    if model:
        return f"{model}: {describe_value(path, value)}"
    if path == INSTANCES:
        return "1 instance" if value == 1 else f"{value} instances"
    name = _NAMES.get(path, path)
    if path == DELAY and value is None:
        return "no dynamic batching"
    if value is None:
        return f"no {name}" if path == PREFERRED else f"{name} not set"
    if path == DELAY:
        return f"{name} {value:,} µs"
    return f"{name} {write_value(value)}"


def write_value(value: Value) -> str:
    """A value as a person writes it."""
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
