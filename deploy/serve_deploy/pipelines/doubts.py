"""What looks wrong about what reaches a step, although every type and shape fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from serve_deploy.pipelines.members import Member
from serve_deploy.python_models.model import no_doubt
from serve_deploy.references.served import run_ensemble

if TYPE_CHECKING:
    from serve_deploy.references.served import Run
    from serve_deploy.samples.files import Array, Samples

    Arrays = Mapping[str, Array]


def find_doubts(config: Any, members: Sequence[Member], samples: Samples) -> tuple[str, ...]:
    """A note for each step that doubts its inputs; the samples are run once more where a step could."""
    doubting = [member for member in members if member.doubt is not no_doubt]
    if not doubting or not samples:
        return ()
    received: dict[str, list[Arrays]] = {member.step.model: [] for member in doubting}
    runs = {member.step.model: member.run for member in members if member.run}
    for name, seen in received.items():
        runs[name] = partial(_run_and_keep, runs[name], seen.append)
    run = run_ensemble(config, runs)
    for sample in samples:
        run(sample)
    said = ((member.step.name, member.doubt(received[member.step.model])) for member in doubting)
    return tuple(f"step '{name}': {doubt}" for name, doubt in said if doubt)


def _run_and_keep(run: Run, keep: Callable[[Arrays], None], inputs: Arrays) -> Arrays:
    keep(inputs)
    return run(inputs)
