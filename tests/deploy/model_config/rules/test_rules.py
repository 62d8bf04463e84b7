"""What Triton refuses is found before Triton is asked."""

from __future__ import annotations

import pytest
from broken_configs import BROKEN, GOOD, IO, MISMATCHED, BrokenConfig
from broken_scheduling import CORE
from valid_configs import VALID

from serve_deploy.model_config import check_against_model, check_config, check_ensemble_members, parse_config
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

BACKEND = 'backend: "onnxruntime" '
DOUBLING = ModelSignature(
    inputs=(TensorSpec("x", DataType.FP32, (-1, 3)),), outputs=(TensorSpec("y", DataType.FP32, (-1, 3)),)
)


def by_name(case: BrokenConfig) -> str:
    return case.name


# What no rule sees in a parsed configuration: it does not parse, or the files or the backends beside it decide.
_BEYOND_THE_RULES = {
    "misspelt_field", "misspelt_type", "two_schedulers", "misspelt_backend", "mistyped_backend", "platform_as_backend",
    "labels_that_are_not_there", "initial_state_file_missing", "initial_state_file_short", "warmup_file_missing",
    "warmup_file_short", "model_file_not_there", "version_not_there", "name_of_another",
}  # fmt: skip


@pytest.mark.parametrize("case", [c for c in (*BROKEN, *CORE) if c.name not in _BEYOND_THE_RULES], ids=by_name)
def test_each_mistake_is_named_with_its_field_and_a_fix(case: BrokenConfig) -> None:
    """One mistake gives problems at its field alone, which say what to write instead."""
    problems = check_config(parse_config(case.text))
    assert {problem.field for problem in problems} == {case.field}
    assert all(problem.message and problem.fix for problem in problems)


@pytest.mark.parametrize("case", VALID, ids=by_name)
def test_what_triton_serves_has_no_problem(case: BrokenConfig) -> None:
    """Usual or not; that Triton serves them, an integration test shows."""
    assert check_config(parse_config(case.text)) == ()


@pytest.mark.parametrize("case", MISMATCHED, ids=by_name)
def test_each_mismatch_with_the_model_is_named(case: BrokenConfig) -> None:
    """A configuration that is legal in itself may still not fit its model."""
    config = parse_config(BACKEND + case.config)
    assert not check_config(config)
    assert case.field in [problem.field for problem in check_against_model(config, DOUBLING)]


@pytest.mark.parametrize(
    "config",
    [
        GOOD,
        "max_batch_size: 0",
        GOOD + " dynamic_batching { preferred_batch_size: [2, 4] priority_levels: 2 default_priority_level: 1 }",
        GOOD + " instance_group { count: 2 } instance_group { kind: KIND_GPU gpus: [0, 1] }",
        GOOD + " version_policy { specific { versions: [1, 3] } }",
        'input { name: "x" data_type: TYPE_FP32 dims: [2, 4, -1, 6] reshape { shape: [8, -1, 1, 6] } }',
    ],
)
def test_legal_configurations_have_no_problem(config: str) -> None:
    """No false alarms."""
    assert check_config(parse_config(BACKEND + config)) == ()


@pytest.mark.parametrize(("inputs", "count"), [("", "no"), ('"x", "x"', "2")])
def test_a_batch_input_says_how_many_sources_it_has(inputs: str, count: str) -> None:
    """It needs one."""
    batch_input = f'batch_input {{ target_name: "n" data_type: TYPE_FP32 source_input: [{inputs}] }}'
    (problem,) = check_config(parse_config(f"{BACKEND} {GOOD} {batch_input}"))
    assert problem.message == f"it has {count} source inputs"


def test_a_narrower_input_is_legal_and_an_unlisted_output_too() -> None:
    """Triton lets the configuration fix a free input dim, and leave outputs out."""
    model = ModelSignature(
        inputs=(TensorSpec("x", DataType.FP32, (-1, -1)),),
        outputs=(TensorSpec("y", DataType.FP32, (-1, 3)), TensorSpec("z", DataType.FP32, (-1, 5))),
    )
    assert list(check_against_model(parse_config(BACKEND + GOOD), model)) == []


def test_a_fixed_first_dimension_cannot_be_the_batch() -> None:
    """The commonest mistake: the export had no dynamic axis."""
    fixed = ModelSignature(
        inputs=(TensorSpec("x", DataType.FP32, (1, 3)),), outputs=(TensorSpec("y", DataType.FP32, (1, 3)),)
    )
    problems = list(check_against_model(parse_config(BACKEND + GOOD), fixed))
    assert [problem.field for problem in problems] == ["input[0].dims", "output[0].dims"]
    assert "dynamic_axes" in problems[0].fix


def test_scalars_are_one_element_without_batching() -> None:
    """Triton has no rank 0: dims [1] stand for it, anything else does not."""
    scalar = ModelSignature(inputs=(TensorSpec("x", DataType.FP32, ()),), outputs=(TensorSpec("y", DataType.FP32, ()),))
    legal = IO.replace("dims: 3", "dims: 1")
    assert list(check_against_model(parse_config(BACKEND + legal), scalar)) == []
    assert [p.field for p in check_against_model(parse_config(BACKEND + IO), scalar)] == [
        "input[0].dims",
        "output[0].dims",
    ]


def test_the_name_must_be_the_folders() -> None:
    """A name is checked only where it is written."""
    assert [p.field for p in check_config(parse_config(f'name: "other" {BACKEND}{GOOD}'), "model")] == ["name"]
    assert check_config(parse_config(BACKEND + GOOD), "model") == ()


_ENSEMBLE = """
name: "ensemble" platform: "ensemble" max_batch_size: 4
input { name: "in" data_type: TYPE_FP32 dims: 3 } output { name: "out" data_type: TYPE_FP32 dims: 3 }
ensemble_scheduling { step { model_name: "m" model_version: -1 %s } } %s
"""
_MAPS = 'input_map { key: "x" value: "in" } output_map { key: "y" value: "out" }'


@pytest.mark.parametrize(
    ("maps", "rest", "message"),
    [
        (_MAPS, "instance_group { count: 1 }", "no instance_group"),
        (_MAPS, 'backend: "onnxruntime"', "no backend"),
        (_MAPS, 'model_warmup { name: "w" batch_size: 1 }', "no model_warmup"),
        ('output_map { key: "y" value: "out" }', "", "no input_map"),
        ('input_map { key: "x" value: "in" }', "", "nothing produces the tensor 'out'"),
        (_MAPS + ' output_map { key: "z" value: "in" }', "", "'in' is produced twice"),
        (_MAPS + ' output_map { key: "z" value: "lost" }', "", "the tensor 'lost' is not used"),
        (_MAPS + ' input_map { key: "z" value: "from_nowhere" }', "", "nothing produces the tensor 'from_nowhere'"),
    ],
)
def test_ensembles_are_checked_as_a_flow(maps: str, rest: str, message: str) -> None:
    """Each tensor is produced once and used, and what its models have an ensemble must not."""
    messages = [problem.message for problem in check_config(parse_config(_ENSEMBLE % (maps, rest)))]
    assert any(message in said for said in messages), messages


def test_a_sound_ensemble_has_no_problem() -> None:
    """Neither in itself nor with its model."""
    config = parse_config(_ENSEMBLE % (_MAPS, ""))
    assert check_config(config) == ()
    assert list(check_ensemble_members("ensemble", config, {"m": parse_config(BACKEND + GOOD)}, {"m": (1,)})) == []


def test_an_ensemble_may_run_an_unbatched_model_whose_first_dim_is_free() -> None:
    """Triton then takes [-1, 3] for the same as a batch of [3]."""
    member = parse_config(BACKEND + IO.replace("dims: 3", "dims: [-1, 3]"))
    config = parse_config(_ENSEMBLE % (_MAPS, ""))
    assert list(check_ensemble_members("ensemble", config, {"m": member}, {"m": (1,)})) == []
