"""A whole tuning on simulated servers, whose best configuration is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated_bench import Truth, Truths, Tuning, reached

from serve_deploy.errors import InvalidModelError, TritonStartError
from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.candidates.candidate import BATCH, INSTANCES, Candidate
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions

SHARED_BASE = Truth(base=0.010, row=0.0005, largest=16)


def _goal(*slo: str) -> Goal:
    return Goal("throughput", tuple(map(parse_gate, slo)))


def _tuning(truth: Truth, goal: Goal, state: Path, **options: Any) -> Tuning:
    small = {"concurrency": 32, "max_batch_size": 16, "max_instances": 2, "max_delay_us": 250, "finalists": 2}
    asked = TuneOptions(**{**small, "max_rounds": 8, **options})
    return Tuning(Truths.of(truth), asked, goal, state / "run.jsonl")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_shared_base_is_found(tmp_path: Path, seed: int) -> None:
    """10 ms + 0.5 ms a row: two instances of 16 rows in 18 ms are 1,778/s, and few measurements find them."""
    goal = _goal("p99<60ms")
    result = _tuning(SHARED_BASE, goal, tmp_path, seed=seed)()
    assert result.verdict == "better", result.explanation
    assert result.winner
    assert (result.winner.values[BATCH], result.winner.values[INSTANCES]) == (16, 2)
    assert reached(Truths.of(SHARED_BASE), goal, result, 32) > 0.95 * 32 / 0.018
    assert result.effort.measurements < 66


def test_a_model_that_takes_no_larger_batches_is_tuned_within_them(tmp_path: Path) -> None:
    """As one with a TensorRT engine: what does not load is listed, and the largest that does is found by halving."""

    def fail(candidate: Candidate) -> None:
        if candidate.number(BATCH) > 8:
            raise TritonStartError("Triton loaded no model of ./2: m: the engine takes 8")

    tuning = _tuning(replace(SHARED_BASE, largest=32), _goal(), tmp_path, max_batch_size=32)
    tuning.fail = fail
    result = tuning()
    assert result.winner, result.explanation
    assert result.winner.values[BATCH] == 8
    assert [each.values[BATCH] for each in result.failed] == [32, 16]
    # Without the copy that is gone by then.
    assert {each.reason for each in result.failed} == {"Triton loaded no model: m: the engine takes 8"}


def test_memory_bound_instances_stay_alone(tmp_path: Path) -> None:
    """Two instances that each take three times as long together serve far less than one."""
    truth = Truth(base=0.010, row=0.0005, contention=3.0, largest=16)
    winner = _tuning(truth, _goal(), tmp_path)().winner
    assert winner
    assert (winner.values[BATCH], winner.values[INSTANCES]) == (16, 1)


@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_helps_the_file_stays(tmp_path: Path, seed: int) -> None:
    """Rows that take their time one after the other, whatever is configured."""
    truth = Truth(base=0.0, row=0.002, exclusive=True, outside=0.0, largest=16)
    result = _tuning(truth, _goal(), tmp_path, seed=seed)()
    assert (result.verdict, result.winner, result.changes) == ("nothing better", None, ())


def test_a_gate_that_nothing_meets_is_said(tmp_path: Path) -> None:
    """An execution of 10 ms answers nobody within 5."""
    result = _tuning(SHARED_BASE, _goal("p99<5ms"), tmp_path)()
    assert result.verdict == "no configuration meets the gates"
    told = r"p99<5ms: 1\d.\d ms, \S+ ms \(1\d\d %\) over the threshold with 1 request at a time"
    assert re.fullmatch(told, result.baseline.reason)
    assert all(re.search(told, each.reason) for each in result.failed)


def test_a_memory_limit_keeps_instances_out(tmp_path: Path) -> None:
    """A server of two instances takes 150 MB here; below that limit the winner has one."""
    result = _tuning(SHARED_BASE, _goal(), tmp_path, max_memory_mb=149)()
    assert result.verdict == "better", result.explanation
    assert result.winner
    assert result.winner.values[INSTANCES] == 1


def test_a_configuration_that_does_not_start_is_left_out(tmp_path: Path) -> None:
    """It is recorded with the reason, and the best of the others wins."""

    def fail(candidate: Candidate) -> None:
        if candidate[INSTANCES] == 2:
            raise InvalidModelError("no room for two")

    tuning = _tuning(SHARED_BASE, _goal(), tmp_path)
    tuning.fail = fail
    result = tuning()
    assert {each.reason for each in result.failed} == {"no room for two"}
    assert result.winner
    assert (result.winner.values[BATCH], result.winner.values[INSTANCES]) == (16, 1)


EXCLUSIVE = Truths.of(Truth(base=0.0, row=0.002, exclusive=True, outside=0.0, largest=4))


def _quick(truths: Truths, state: Path, fail: Callable[[Candidate], None] = lambda _: None, **options: Any) -> Tuning:
    small = {"concurrency": 8, "max_batch_size": 4, "max_delay_us": 0, "finalists": 1, "max_rounds": 4}
    return Tuning(truths, TuneOptions(**{**small, **options}), _goal(), state / "run.jsonl", fail=fail)


def test_instances_that_do_not_help_are_tried_where_they_are_named(tmp_path: Path) -> None:
    """Two bring nothing; four were asked for all the same, so they are measured and simulated."""
    result = _quick(EXCLUSIVE, tmp_path, vary=((INSTANCES, (1, 4)),))()
    assert max(each.instances for each in result.measured_settings) == 4
    assert {each.values[INSTANCES] for each in result.ranked} == {1, 4}


def test_instances_that_are_named_and_cannot_be_measured_are_listed(tmp_path: Path) -> None:
    """Two do not start; nothing is known of four, and the result says so."""

    def fail(candidate: Candidate) -> None:
        if candidate.number(INSTANCES) > 1:
            raise InvalidModelError("out of memory")

    result = _quick(EXCLUSIVE, tmp_path, fail, vary=((INSTANCES, (1, 4)),))()
    assert {each.values[INSTANCES]: each.reason for each in result.failed} == {
        2: "out of memory", 4: "not tried: fewer instances could not be measured"
    }  # fmt: skip


def test_no_more_instances_than_allowed_are_tried(tmp_path: Path) -> None:
    """The file's two are measured, because all is compared with them, and nothing else has as many."""
    result = _quick(replace(EXCLUSIVE, instances=2), tmp_path, max_instances=1)()
    assert {each.values[INSTANCES] for each in result.ranked} == {1}


def test_combinations_that_were_not_measured_are_counted(tmp_path: Path) -> None:
    """Of more than a dozen some are chosen; a note says that not all were."""
    vary = (("parameters.a", (1, 2, 3, 4)), ("parameters.b", (1, 2, 3)))
    notes = _quick(EXCLUSIVE, tmp_path, vary=vary, max_instances=1)().notes
    assert "m: 16 of the 20 combinations that were asked for were measured, chosen by what the others served" in notes
