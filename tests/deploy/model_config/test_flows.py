"""A request's way through an ensemble, inner ensembles included."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.model_config import parse_config
from serve_deploy.model_config.ensemble_graph import order_steps
from serve_deploy.model_config.flows import read_flow

LEAF = parse_config('backend: "python"')
NAMES = "fgh"


def _ensemble(members: list[str], sources: list[int]) -> Any:
    """Each step takes what an earlier one made (or, at 0, the input), and the last one's tensor is the output."""
    made = ["in", *(f"t{index}" for index in range(len(members) - 1)), "out"]
    steps = " ".join(
        f'step {{ model_name: "{member}" model_version: -1 input_map {{ key: "in" value: "{made[source]}" }} '
        f'output_map {{ key: "out" value: "{made[index + 1]}" }} }}'
        for index, (member, source) in enumerate(zip(members, sources, strict=True))
    )
    return parse_config(
        'platform: "ensemble" input { name: "in" } output { name: "out" } ' + f"ensemble_scheduling {{ {steps} }}"
    )


@st.composite
def _repositories(draw: st.DrawFn) -> dict[str, Any]:
    """Models and ensembles, each of which runs models and ensembles before it; the last is called "e"."""
    configs: dict[str, Any] = dict.fromkeys(NAMES, LEAF)
    count = draw(st.integers(1, 3))
    for number in range(count):
        members = draw(st.lists(st.sampled_from(list(configs)), min_size=1, max_size=3))
        sources = [draw(st.integers(0, index)) for index in range(len(members))]
        configs["e" if number == count - 1 else f"e{number}"] = _ensemble(members, sources)
    return configs


def _run(name: str, configs: dict[str, Any], value: str) -> str:
    """What a model makes of a value, as Triton would: inner ensembles are models like any other."""
    if configs[name] is LEAF:
        return f"{name}({value})"
    tensors = {"in": value}
    for _, step in order_steps(configs[name])[0]:
        tensors[step.output_map["out"]] = _run(step.model_name, configs, tensors[step.input_map["in"]])
    return tensors["out"]


@given(_repositories())
def test_the_flow_computes_what_the_ensemble_does(configs: dict[str, Any]) -> None:
    """Its steps, one after the other, with no ensemble left among them."""
    flow = read_flow("e", configs)
    tensors = {"in": "x"}
    for index, step in enumerate(flow.steps):
        assert step.model in NAMES
        assert all(position < index for position in step.after)
        tensors[step.outputs["out"]] = f"{step.model}({tensors[step.inputs['in']]})"
    assert tensors["out"] == _run("e", configs, "x")


def test_steps_wait_for_those_whose_tensors_they_take() -> None:
    """Two that take the input run beside each other."""
    flow = read_flow("e", {**dict.fromkeys(NAMES, LEAF), "e": _ensemble(["f", "g", "h"], [0, 0, 1])})
    assert [(step.model, step.after) for step in flow.ensemble.steps] == [("f", ()), ("g", ()), ("h", (0,))]
