"""A whole tuning on simulated servers, whose best configuration is known."""

from __future__ import annotations

import pytest
from simulated_bench import BASELINE, Truth, Truths, reached, tune_simulated

from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.candidates import BATCH, INSTANCES
from serve_deploy.tuning.objective import Goal
from serve_deploy.tuning.options import TuneOptions

OPTIONS = TuneOptions(concurrency=32, max_batch_size=16, max_instances=2, max_delay_us=250, finalists=2, max_rounds=8)


def _goal(*slo: str) -> Goal:
    return Goal("throughput", tuple(map(parse_gate, slo)))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_shared_base_is_found(seed: int) -> None:
    """10 ms + 0.5 ms a row: two instances of 16 rows in 18 ms are 1,778/s, and few measurements find them."""
    truth, goal = Truth(base=0.010, row=0.0005, largest=16), _goal("p99<60ms")
    tuned = tune_simulated(truth, OPTIONS, goal, seed)
    assert (tuned.candidate[BATCH], tuned.candidate[INSTANCES], tuned.won) == (16, 2, True)
    assert reached(Truths.of(truth), goal, tuned.candidate, tuned.concurrency, 32) > 0.95 * 32 / 0.018
    assert tuned.measurements < 60


def test_memory_bound_instances_stay_alone() -> None:
    """Two instances that each take three times as long together serve far less than one."""
    tuned = tune_simulated(Truth(base=0.010, row=0.0005, contention=3.0, largest=16), OPTIONS, _goal(), 0)
    assert (tuned.candidate[BATCH], tuned.candidate[INSTANCES]) == (16, 1)


@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_helps_the_file_stays(seed: int) -> None:
    """Rows that take their time one after the other, whatever is configured."""
    tuned = tune_simulated(Truth(base=0.0, row=0.002, exclusive=True, outside=0.0, largest=16), OPTIONS, _goal(), seed)
    assert (tuned.candidate, tuned.won) == (BASELINE, False)
