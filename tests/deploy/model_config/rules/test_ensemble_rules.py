"""Ensembles and the models that they run: every case that Triton judged, and where a batch or a version ends."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from broken_configs import GOOD, BrokenConfig
from broken_ensembles import DOUBLE, ENSEMBLES, IN, OUT, STREAM, flow, step
from valid_configs import VALID

from serve_deploy.model_config import Problem, check_config, check_ensemble_members, parse_config

_FLOWS = tuple(case for case in VALID if "ensemble" in case.backend)
_IN_TWO = IN.replace('"in"', '"a"') + IN.replace('"in"', '"b"') + OUT.replace('"out"', '"y"')
MEMBERS = {
    "well": f'backend: "onnxruntime" {GOOD}',
    "wide": f'backend: "onnxruntime" {GOOD.replace("dims: 3", "dims: 4")}',
    "two": f'backend: "python" max_batch_size: 4 {_IN_TWO}',
    "stream": f'backend: "python" {STREAM}',
    "other_stream": f'backend: "python" {STREAM}',
    "two_versions": f'backend: "python" {GOOD}',
}
SERVED: dict[str, Collection[int]] = dict.fromkeys((*MEMBERS, *(case.name for case in (*ENSEMBLES, *_FLOWS))), (1,))


def by_name(case: BrokenConfig) -> str:
    return case.name


def find_problems(name: str, text: str, served: Collection[int] = (2,)) -> list[Problem]:
    """Of an ensemble beside all members and all other ensembles; `served` are the versions of `two_versions`."""
    texts = {**MEMBERS, **{case.name: case.text for case in (*ENSEMBLES, *_FLOWS)}}
    models = {member: parse_config(config) for member, config in texts.items()}
    config = parse_config(text)
    return [*check_config(config), *check_ensemble_members(name, config, models, SERVED | {"two_versions": served})]


def find_messages(config: str, served: Collection[int] = (2,)) -> list[str]:
    return [problem.message for problem in find_problems("ensemble", f'platform: "ensemble" {config}', served)]


@pytest.mark.parametrize("case", ENSEMBLES, ids=by_name)
def test_each_mistake_is_named_with_its_field_and_a_fix(case: BrokenConfig) -> None:
    """One mistake gives problems at its field alone, and where it leaves a tensor unused or unwritten at the flow."""
    problems = find_problems(case.name, case.text)
    fields = {problem.field for problem in problems}
    assert case.field in fields
    assert fields <= {case.field, "ensemble_scheduling.step"}
    assert all(problem.message and problem.fix for problem in problems)


@pytest.mark.parametrize("case", _FLOWS, ids=by_name)
def test_what_triton_serves_has_no_problem(case: BrokenConfig) -> None:
    """Usual or not."""
    assert find_problems(case.name, case.text) == []


@pytest.mark.parametrize(("size", "is_legal"), [(1, True), (4, True), (5, False)])
def test_an_ensembles_batch_is_no_larger_than_its_members(size: int, is_legal: bool) -> None:
    """Which it may fill."""
    said = find_messages(flow(DOUBLE, head=f"max_batch_size: {size} {IN} {OUT}"))
    assert said == ([] if is_legal else [f"{size} is above the 4 of the model 'well'"])


@pytest.mark.parametrize(
    ("asked", "served", "message"),
    [
        (-1, (2,), None),
        (2, (2,), None),
        (1, (1, 2), None),
        (1, (2,), "'two_versions' serves version 2, the step asks for version 1"),
        (3, (1, 2), "'two_versions' serves versions 1, 2, the step asks for version 3"),
        (3, (), "'two_versions' serves no version, the step asks for version 3"),
        (0, (2,), "'two_versions' serves version 2, the step asks for version 0 (no model_version means 0)"),
    ],
)
def test_a_step_runs_a_version_that_is_served(asked: int, served: tuple[int, ...], message: str | None) -> None:
    """Or the newest, whichever that is."""
    config = flow(step("two_versions", {"x": "in"}, {"y": "out"}, version=asked))
    assert find_messages(config, served) == ([message] if message else [])


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (IN.replace("FP32", "FP64"), "'in' is TYPE_FP64 in the ensemble and TYPE_FP32 in 'well'"),
        (IN.replace("dims: 3", "dims: 4"), "'in' is [-1, 4] in the ensemble and [-1, 3] in 'well'"),
        (IN.replace("dims: 3", "dims: [3, 3]"), "'in' is [-1, 3, 3] in the ensemble and [-1, 3] in 'well'"),
        (IN.replace("dims: 3", "dims: [3, 1] reshape { shape: 3 }"), None),
        (
            IN.replace("dims: 3", "dims: 3 reshape { shape: [3, 1] }"),
            "'in' is [-1, 3, 1] in the ensemble and [-1, 3] in 'well'",
        ),
        (IN.replace("dims: 3", "dims: -1"), None),
    ],
)
def test_a_tensor_is_the_same_for_all_that_read_or_write_it(tensor: str, message: str | None) -> None:
    """As the ensemble passes it on; a free size fits any."""
    said = find_messages(flow(DOUBLE, head=f"max_batch_size: 4 {tensor} {OUT}"))
    assert said == ([message] if message else [])


@pytest.mark.parametrize(("largest", "shape"), [(0, "[4]"), (1, "[-1, 4]"), (4, "[-1, 4]")])
def test_a_shape_begins_with_the_batch_where_there_is_one(largest: int, shape: str) -> None:
    """Even of a single row."""
    (said,) = find_messages(flow(DOUBLE, head=f"max_batch_size: {largest} {IN.replace('dims: 3', 'dims: 4')} {OUT}"))
    assert said == f"'in' is {shape} in the ensemble and [-1, 3] in 'well'"


@pytest.mark.parametrize("given", ["", IN.replace('"in"', '"z"'), OUT.replace('"out"', '"z"')])
def test_a_member_that_does_not_say_its_tensors_is_not_judged(given: str) -> None:
    """Triton completes it first."""
    config = parse_config(f'platform: "ensemble" {flow(DOUBLE)}')
    member = parse_config(f'backend: "onnxruntime" max_batch_size: 1 {given}')
    assert list(check_ensemble_members("ensemble", config, {"well": member}, {"well": (1,)})) == []


@pytest.mark.parametrize(
    ("asked", "others", "fix"),
    [
        ("wel", ["well", "wide"], "did you mean 'well'?"),
        ("resnet", ["well", "wide"], "the repository has: well, wide"),
        ("resnet", [], "the repository has: no other model"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_those_that_are(asked: str, others: list[str], fix: str) -> None:
    """The likeliest, or all but the ensemble itself."""
    config = parse_config(f'platform: "ensemble" {flow(step(asked, {"x": "in"}, {"y": "out"}))}')
    models = {"ensemble": config, **{name: parse_config(MEMBERS[name]) for name in others}}
    (problem,) = check_ensemble_members("ensemble", config, models, {})
    assert problem.fix == fix
