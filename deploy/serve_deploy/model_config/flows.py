"""How a request goes through an ensemble: the steps of inner ensembles in the place of these. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serve_deploy.model_config.ensemble_graph import order_steps
from serve_deploy.twin import Ensemble, Step


@dataclass(frozen=True)
class FlowStep:
    """One model's part: its tensors by the flow's, and the positions of the steps that it waits for."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    after: tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """An ensemble's models in an order in which each has its inputs."""

    name: str
    steps: tuple[FlowStep, ...]

    @property
    def ensemble(self) -> Ensemble:
        """As the twin simulates it."""
        return Ensemble(self.name, tuple(Step(step.model, step.after) for step in self.steps))


def read_flow(name: str, configs: Mapping[str, Any]) -> Flow:
    """The flow of an ensemble; `configs` has the configuration of every model that it runs, by name."""
    steps: list[FlowStep] = []
    made: dict[str, int] = {}
    for model, inputs, outputs in _flatten(name, configs, ""):
        after = tuple(sorted({made[tensor] for tensor in inputs.values() if tensor in made}))
        made |= dict.fromkeys(outputs.values(), len(steps))
        steps.append(FlowStep(model, inputs, outputs, after))
    return Flow(name, tuple(steps))


def _flatten(name: str, configs: Mapping[str, Any], scope: str) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """Models with their tensors' names in the flow; those of an inner ensemble have its place in front."""
    ordered, _ = order_steps(configs[name])
    for index, step in ordered:
        inputs = {own: scope + tensor for own, tensor in step.input_map.items()}
        outputs = {own: scope + tensor for own, tensor in step.output_map.items()}
        if not configs[step.model_name].ensemble_scheduling.step:
            yield step.model_name, inputs, outputs
            continue
        inner = f"{scope}{index}/"
        outer = {inner + own: tensor for own, tensor in (inputs | outputs).items()}
        for model, *maps in _flatten(step.model_name, configs, inner):
            taken, given = ({own: outer.get(tensor, tensor) for own, tensor in each.items()} for each in maps)
            yield model, taken, given
