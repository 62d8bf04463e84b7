"""Ensembles that Triton loads and whose requests it refuses: each is a problem or a note, with what requests need."""

from __future__ import annotations

import pytest
from broken_ensembles import PARTIAL, flow, step

from serve_deploy.model_config import check_ensemble_members, note_ensemble_requests, parse_config
from serve_deploy.model_config.ensemble_graph import find_lost_outputs


def tensors(inputs: str, outputs: str) -> str:
    """`x: [3]` and `y: [3]`, each with what else stands in its message."""
    return " ".join(
        f'{kind} {{ name: "{name}" data_type: TYPE_FP32 dims: {dims} }}'
        for kind, text in (("input", inputs), ("output", outputs))
        for name, dims in [text.split(": ", 1)]
    )


MEMBERS = {
    "batching": f'backend: "python" max_batch_size: 4 {tensors("x: [3]", "y: [3]")}',
    "any_size": f'backend: "python" max_batch_size: 4 {tensors("x: [3]", "y: [-1]")}',
    "rows": f'backend: "python" {tensors("x: [-1, 3]", "y: [-1, 3]")}',
    "wide_row": f'backend: "python" max_batch_size: 4 {tensors("x: [8]", "y: [8]")}',
    "five_rows": f'backend: "python" {tensors("x: [-1, 3]", "y: [5, 3]")}',
    "four_rows": f'backend: "python" {tensors("x: [4, 3]", "y: [4, 3]")}',
    "one_row": f'backend: "python" {tensors("x: [1, 3]", "y: [1, 3]")}',
    "no_row": f'backend: "python" {tensors("x: [3]", "y: [3]")}',
    "one_row_out": f'backend: "python" {tensors("x: [-1, 3]", "y: [1, 3]")}',
    "choosy": f'backend: "python" max_batch_size: 4 {tensors("x: [3] optional: true", "y: [3]")}',
    "recurrent": f'backend: "python" max_batch_size: 4 {tensors("x: [3]", "y: [3]")} sequence_batching {{ }}',
    "stream": f'backend: "python" {tensors("x: [3]", "y: [3]")} model_transaction_policy {{ decoupled: true }}',
}
MODELS = {name: parse_config(text) for name, text in MEMBERS.items()}
SERVED = dict.fromkeys(MEMBERS, (1,))


def ensemble(*models: str, batch: int = 4, ends: tuple[str, str] = ("in: [3]", "out: [3]")) -> object:
    names = ["in", *(f"t{index}" for index in range(1, len(models))), "out"]
    steps = [step(model, {"x": names[index]}, {"y": names[index + 1]}) for index, model in enumerate(models)]
    return parse_config(f'platform: "ensemble" {flow(*steps, head=f"max_batch_size: {batch} {tensors(*ends)}")}')


def problems(config: object) -> list[str]:
    found = check_ensemble_members("ensemble", config, MODELS, SERVED)
    return [f"{problem.field}: {problem.message}" for problem in found]


_WHERE = "ensemble_scheduling.step[0]"


@pytest.mark.parametrize(
    ("model", "ends", "problem"),
    [
        ("rows", ("in: [3]", "out: [3]"), None),
        ("no_row", ("in: [3]", "out: [3]"), f"{_WHERE}.input_map: 'x' of the model 'no_row' is [3]"),
        ("one_row", ("in: [1, 3]", "out: [1, 3]"), f"{_WHERE}.input_map: 'x' of the model 'one_row' is [1, 3]"),
        ("one_row_out", ("in: [3]", "out: [1, 3]"), f"{_WHERE}.output_map: 'y' of the model 'one_row_out' is [1, 3]"),
    ],
)
def test_a_member_without_batching_takes_any_number_of_rows(
    model: str, ends: tuple[str, str], problem: str | None
) -> None:
    """Or the second request of a batch fails."""
    effect = "gets another number of rows back" if model == "one_row_out" else "fails"
    said = f" without batching: a request of two rows {effect}"
    assert problems(ensemble(model, ends=ends)) == ([problem + said] if problem else [])


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (-1, None),
        (4, None),
        (5, "input[0].dims: 'in' has 5 rows, above the 4 of the model 'batching'"),
    ],
)
def test_rows_of_an_ensemble_without_batching_fit_its_members(rows: int, problem: str | None) -> None:
    """They are the member's batch."""
    config = ensemble("batching", batch=0, ends=(f"in: [{rows}, 3]", "out: [-1, 3]"))
    assert problems(config) == ([problem] if problem else [])


def test_dims_of_one_row_are_no_rows() -> None:
    """Triton puts the batch axis in front of what has as many dims as the member."""
    assert problems(ensemble("wide_row", batch=0, ends=("in: [8]", "out: [8]"))) == []


def test_rows_between_steps_fit_the_next() -> None:
    """Each request fails where a step always returns more than the next takes."""
    config = ensemble("five_rows", "batching", batch=0, ends=("in: [-1, 3]", "out: [-1, 3]"))
    where = "ensemble_scheduling.step[1].input_map"
    assert problems(config) == [f"{where}: 't1' has 5 rows, above the 4 of the model 'batching'"]


@pytest.mark.parametrize(("model", "is_legal"), [("batching", False), ("choosy", True)])
def test_an_optional_input_is_optional_for_its_readers(model: str, is_legal: bool) -> None:
    """Or leaving it out fails."""
    said = "input[0].optional: 'in' is optional, but the model 'batching' needs it as 'x'"
    config = ensemble(model, ends=("in: [3] optional: true", "out: [3]"))
    assert problems(config) == ([] if is_legal else [said])


@pytest.mark.parametrize(
    ("config", "notes"),
    [
        (ensemble("batching", "batching"), []),
        (ensemble("rows", batch=0, ends=("in: [-1, 3]", "out: [-1, 3]")), []),
        (
            ensemble("rows", "batching", batch=0, ends=("in: [-1, 3]", "out: [-1, 3]")),
            ["requests carry their batch axis themselves, up to 4 rows (max_batch_size of 'batching')"],
        ),
        (ensemble("recurrent"), ["requests need a sequence ID and flags, since 'recurrent' keeps sequences"]),
        (
            ensemble("stream", batch=0),
            ["it may answer a request many times, since 'stream' does: over gRPC streams, not over HTTP"],
        ),
        (
            ensemble("any_size", "batching"),
            ["'y' of 'any_size' may be [-1], 'batching' takes [3]: other sizes fail request by request"],
        ),
        (
            ensemble("batching", ends=("in: [-1]", "out: [3]")),
            ["'in' of the ensemble may be [-1], 'batching' takes [3]: other sizes fail request by request"],
        ),
        (
            ensemble("batching", "four_rows", batch=0, ends=("in: [-1, 3]", "out: [4, 3]")),
            [
                "requests carry their batch axis themselves, up to 4 rows (max_batch_size of 'batching')",
                "'y' of 'batching' may be [-1, 3], 'four_rows' takes [4, 3]: other sizes fail request by request",
            ],
        ),
        (
            ensemble("choosy", ends=("in: [3] optional: true", "out: [3]")),
            ["requests need 'in', although it is optional: 'choosy' gets no input otherwise"],
        ),
        (parse_config(MEMBERS["batching"]), []),
    ],
)
def test_what_requests_must_know_is_noted(config: object, notes: list[str]) -> None:
    """And nothing else."""
    assert list(note_ensemble_requests(config, MODELS)) == notes


@pytest.mark.parametrize(("config", "asked", "lost"), PARTIAL)
def test_outputs_that_triton_loses_are_found(config: str, asked: str, lost: str) -> None:
    """As Triton 2.51 was seen to answer: with an output's value, or with "unexpected deadlock"."""
    assert find_lost_outputs(parse_config(f'platform: "ensemble" {config}'), asked.split()) == lost.split()


def test_who_cannot_be_asked_for_one_output_says_so() -> None:
    """And an ensemble that asks for one is refused."""
    inner = parse_config(f'platform: "ensemble" {PARTIAL[0][0]}')
    said = "requests must ask for all outputs: Triton fails where it is asked for 'y' and 'c' alone"
    assert list(note_ensemble_requests(inner, MODELS)) == [said]
    outer = flow(step("inner", {"in": "in"}, {"c": "out"}), head=f"max_batch_size: 4 {tensors('in: [3]', 'out: [3]')}")
    found = check_ensemble_members(
        "outer", parse_config(f'platform: "ensemble" {outer}'), MODELS | {"inner": inner}, SERVED | {"inner": (1,)}
    )
    assert [problem.message for problem in found] == [
        "every request fails: the ensemble 'inner' cannot compute 'c' unless asked for 'y', too"
    ]
