"""Models whose best configuration follows from arithmetic: each execution sleeps as long as its rows say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

_MODEL = """
import fcntl
import time
from contextlib import nullcontext
from pathlib import Path

import triton_python_backend_utils as pb_utils

BASE, ROW, LOCKED, ADDED = {base!r}, {row!r}, {locked!r}, {added!r}


class TritonPythonModel:
    def initialize(self, args):
        self.lock = open(Path(args["model_repository"]) / "lock", "ab")
        largest = __import__("json").loads(args["model_config"])["max_batch_size"]
        self.added = ADDED if largest > 2 else 0.0

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        if LOCKED:
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        time.sleep(BASE + ROW * sum(len(each) for each in inputs))
        if LOCKED:
            fcntl.flock(self.lock, fcntl.LOCK_UN)
        outputs = [pb_utils.Tensor("y", each * 2 + self.added) for each in inputs]
        return [pb_utils.InferenceResponse([each]) for each in outputs]
"""


def add_timed_model(
    repository: Path,
    name: str = "timed",
    *,
    base: float,
    row: float,
    locked: bool = False,
    added: float = 0.0,
    config: str = "max_batch_size: 2 dynamic_batching { } instance_group { count: 1 kind: KIND_CPU }",
) -> Path:
    """Add a model that takes `base` + `row` × rows seconds an execution, and doubles its input.

    `locked`: its instances wait for each other. `added` is added to its answers where max_batch_size is above 2.
    """
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(_MODEL.format(base=base, row=row, locked=locked, added=added))
    (folder / "lock").touch()
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "python"\n{config}\n'
        'input { name: "x" data_type: TYPE_FP32 dims: [1] }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [1] }\n'
    )
    return folder


def add_ensemble(repository: Path, name: str, members: tuple[str, ...], *, max_batch_size: int = 4) -> Path:
    """Add an ensemble of timed models, one after the other."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    tensors = ["x", *(f"after_{member}" for member in members[:-1]), "y"]
    steps = "\n".join(
        f'step {{ model_name: "{member}" model_version: -1 input_map {{ key: "x" value: "{taken}" }} '
        f'output_map {{ key: "y" value: "{given}" }} }}'
        for member, (taken, given) in zip(members, pairwise(tensors), strict=True)
    )
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nplatform: "ensemble"\nmax_batch_size: {max_batch_size}\n'
        'input { name: "x" data_type: TYPE_FP32 dims: [1] }\n'
        'output { name: "y" data_type: TYPE_FP32 dims: [1] }\n'
        f"ensemble_scheduling {{\n{steps}\n}}\n"
    )
    return folder


MODELS_OF_A_SET = ("encode", "decode", "both")


def add_models_of_a_set(repository: Path) -> Path:
    """Add two members and their ensemble: the first gains from batches, the second takes its time a row."""
    one_row = "max_batch_size: 1 dynamic_batching { } instance_group { count: 1 kind: KIND_CPU }"
    add_timed_model(repository, "encode", base=0.004, row=0.0, config=one_row)
    add_timed_model(repository, "decode", base=0.0, row=0.0003)
    add_ensemble(repository, "both", ("encode", "decode"), max_batch_size=1)
    return repository
