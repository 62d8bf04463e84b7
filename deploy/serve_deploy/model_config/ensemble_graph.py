"""How an ensemble's steps follow each other (core: ValidateEnsembleConfig, CircularDependencyCheck)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from serve_deploy.model_config.problem import Problem, is_ensemble

STEP = "ensemble_scheduling.step"


def order_steps(config: Any, given: Collection[str] = ()) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    """The steps with their indices in an order in which each has its inputs, and those that never get theirs.

    `given` are tensors to count as there, besides the ensemble's inputs.
    """
    ready = {tensor.name for tensor in config.input} | set(given)
    ordered: list[tuple[int, Any]] = []
    waiting = list(enumerate(config.ensemble_scheduling.step))
    while runnable := [each for each in waiting if ready.issuperset(each[1].input_map.values())]:
        waiting = [each for each in waiting if each not in runnable]
        ordered += runnable
        ready.update(name for _index, step in runnable for name in step.output_map.values())
    return ordered, waiting


def find_lost_outputs(config: Any, asked: Collection[str]) -> list[str]:
    """The asked outputs of an ensemble that Triton never computes where the others are not asked for, too.

    It leaves out steps whose outputs nobody asked for, and with them what other steps read of these (core: the
    pruning in EnsembleContext). Such a request fails with "unexpected deadlock".
    """
    steps = config.ensemble_scheduling.step
    writers = {name: index for index, step in enumerate(steps) for name in step.output_map.values()}
    readers = {name: {i for i, step in enumerate(steps) if name in step.input_map.values()} for name in writers}
    left = {index: len(step.output_map) for index, step in enumerate(steps)}
    ignored = {tensor.name for tensor in config.output} - set(asked)
    while ignored:
        pruned = []
        for name in ignored & writers.keys():
            left[writers[name]] -= 1
            pruned += [writers[name]] if left[writers[name]] == 0 else []
        read = {name for index in pruned for name in steps[index].input_map.values() if name in readers}
        for name in read:
            readers[name].difference_update(pruned)
        ignored = {name for name in read if not readers[name]}
    runs = [step for index, step in enumerate(steps) if left[index] > 0]
    made = {tensor.name for tensor in config.input}
    while runnable := [step for step in runs if made.issuperset(step.input_map.values())]:
        runs = [step for step in runs if step not in runnable]
        made.update(name for step in runnable for name in step.output_map.values())
    return sorted(set(asked) - made)


def check_ensemble_cycle(name: str, config: Any, models: Mapping[str, Any]) -> Iterator[Problem]:
    """The ensemble runs itself, directly or through other ensembles."""
    for index, step in enumerate(config.ensemble_scheduling.step):
        if path := _find_path(step.model_name, name, models):
            circle = " → ".join(f"'{each}'" for each in (name, *path))
            message = f"the ensembles run each other in a circle: {circle}"
            yield Problem(f"{STEP}[{index}].model_name", message, "name a model that does not run this ensemble")


def _find_path(start: str, goal: str, models: Mapping[str, Any]) -> tuple[str, ...]:
    """The models from `start` to `goal` along the steps of ensembles; empty where none leads there."""
    paths: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    for path in paths:
        if path[-1] == goal:
            return path
        config = models.get(path[-1])
        for member in [step.model_name for step in config.ensemble_scheduling.step] if config else ():
            if member not in seen:
                seen.add(member)
                paths.append((*path, member))
    return ()


def check_ensemble_streams(config: Any, models: Mapping[str, Any]) -> Iterator[Problem]:
    """A step, or the ensemble's outputs, join what different decoupled models return."""
    inputs = "the ensemble's inputs"
    sources = {tensor.name: (-1, inputs) for tensor in config.input}
    fix = "run one decoupled model, and give what else is needed as an input of it and an output"
    ordered, _ = order_steps(config)
    for index, step in ordered:
        joined = sorted({sources[name] for name in step.input_map.values()})
        if len(joined) > 1:
            names = " and ".join(source for _number, source in joined)
            message = f"it joins {names}, but a decoupled model returns any number of responses"
            yield Problem(f"{STEP}[{index}].input_map", message, fix)
        decoupled = is_decoupled(step.model_name, models)
        source = (index, f"the decoupled '{step.model_name}'") if decoupled else next(iter(joined), (-1, inputs))
        sources |= {name: source for name in step.output_map.values()}
    returned = sorted({sources[tensor.name] for tensor in config.output if tensor.name in sources})
    if len(returned) > 1:
        names = " and ".join(source for _number, source in returned)
        message = f"its outputs come from {names}, but a decoupled model returns any number of responses"
        yield Problem(STEP, message, fix)


def is_itself_decoupled(config: Any) -> bool:
    """Whether a model may answer a request many times; of vLLM's models Triton adds that to the configuration."""
    return bool(config.model_transaction_policy.decoupled) or config.backend == "vllm"


def is_decoupled(name: str, models: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a model returns any number of responses: it says so, or it is an ensemble that runs one that does."""
    config = models.get(name)
    if config is None or name in seen:
        return False
    if not is_ensemble(config):
        return is_itself_decoupled(config)
    return any(is_decoupled(step.model_name, models, seen | {name}) for step in config.ensemble_scheduling.step)
