"""Ensembles and several models at once, on simulated servers."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated_bench import Truth, Truths, Tuning, reached

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.errors import UsageError
from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.candidates.candidate import BATCH, INSTANCES
from serve_deploy.tuning.measured import MixedPoint, pool_points
from serve_deploy.tuning.prediction.twins import simulated_point
from serve_deploy.tuning.results.result import TuningResult
from serve_deploy.tuning.task.objective import Goal, read_goal
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.twin import ServedModel, ServerModel, ServiceTimes, Stream, simulate

SHARES, BARE = Truth(base=0.010, row=0.0005, largest=16), Truth(base=0.0, row=0.002, largest=16)


def _tune(truths: Truths, goal: Goal, state: Path) -> TuningResult:
    options = TuneOptions(
        concurrency=32, max_batch_size=16, max_instances=2, max_delay_us=100, finalists=2, max_rounds=6
    )
    return Tuning(truths, options, goal, state / "run.jsonl")()


def test_members_get_settings_of_their_own(tmp_path: Path) -> None:
    """One gains from batches and the other from instances alone: 2 rows a 2 ms are 1,000/s, which the first bears."""
    truths, goal = Truths({"shares": SHARES, "bare": BARE}), Goal("throughput", (parse_gate("p99<100ms"),))
    result = _tune(truths, goal, tmp_path)
    assert result.verdict == "better", result.explanation
    assert result.winner
    values = result.winner.values
    assert (values[f"bare:{INSTANCES}"], values[f"shares:{BATCH}"] >= 8) == (2, True)
    assert reached(truths, goal, result, 32) > 0.95 * 1000
    assert result.effort.measurements < 60


def test_a_mixed_load_is_shared_by_its_weights(tmp_path: Path) -> None:
    """Every model holds its gate, and of four requests three are the first one's."""
    truths = Truths({"shares": SHARES, "bare": BARE}, {"shares": 3, "bare": 1})
    result = _tune(truths, read_goal("throughput", ("p99<60ms", "bare:p99<20ms"), ["shares", "bare"]), tmp_path)
    assert result.winner
    assert result.winner.measured
    bare, shares = result.winner.measured.parts
    assert (bare.model, shares.model) == ("bare", "shares")
    assert shares.throughput / bare.throughput == pytest.approx(3, rel=0.02)
    assert (bare.p99_us < 20_000, shares.p99_us < 60_000) == (True, True)
    assert any("no longer than alone" in note for note in result.notes)


def test_models_that_slow_each_other_are_predicted(tmp_path: Path) -> None:
    """On two cores four instances at once are half as quick; what the twin says of the winner is what it does."""
    truths = Truths({"shares": SHARES, "bare": BARE}, {"shares": 3, "bare": 1}, cores=2.0)
    result = _tune(truths, Goal("throughput", (parse_gate("p99<80ms"),)), tmp_path)
    assert any("times as long as alone" in note for note in result.notes)
    assert result.winner
    assert result.winner.predicted
    assert result.winner.measured
    assert result.winner.predicted.throughput == pytest.approx(result.winner.measured.throughput, rel=0.1)


def _point(p99_us: dict[str, float]) -> MixedPoint:
    models = tuple(ServedModel(name=name, service=ServiceTimes.by_batch({1: us / 1e6})) for name, us in p99_us.items())
    mix = Stream(load=ClosedLoop(1), model="all", mix=dict.fromkeys(p99_us, 1.0))
    return simulated_point(simulate(ServerModel(models=models), [mix], requests=100), ClosedLoop(1), None)


@pytest.mark.parametrize(
    ("gates", "missed"),
    [
        (("p99<50ms",), ()),
        (("p99<30ms",), ("b",)),
        (("a:p99<30ms",), ()),
        (("a:p99<5ms", "p99<50ms"), ("a",)),
        (("a:p99<5ms", "b:p99<5ms"), ("a", "b")),
    ],
)
def test_gates_hold_for_every_model(gates: tuple[str, ...], missed: tuple[str, ...]) -> None:
    """Not for the mean of all; one with a model in front holds for that alone."""
    goal, point = read_goal("throughput", gates, ["a", "b"]), _point({"a": 10_000, "b": 40_000})
    assert tuple(text[0] for text in goal.missed(point)) == missed
    assert goal.is_met(point) == (not missed)


def test_a_gate_of_a_model_that_is_not_called_is_refused() -> None:
    """It would hold always."""
    with pytest.raises(UsageError, match="c is not tuned"):
        read_goal("throughput", ("c:p99<5ms",), ["a", "b"])


def test_a_model_whose_name_has_a_colon_has_its_own_gate() -> None:
    """A gate has none, so that the last one ends the name."""
    goal = read_goal("throughput", ("org:a:p99<5ms",), ["org:a", "b"])
    assert [(model, gate.expression) for model, gate in goal.own_gates] == [("org:a", "p99<5ms")]


def test_a_gate_of_token_streams_is_refused_before_anything_is_measured() -> None:
    """No configuration could ever meet it."""
    with pytest.raises(UsageError, match="`slo=ttft_p99<500ms` is of token streams"):
        read_goal("throughput", ("ttft_p99<500ms",), ["a"])


def test_rounds_are_pooled_by_model() -> None:
    """Two rounds of each are one, with the requests of both."""
    points = [_point({"a": 10_000, "b": 40_000}), _point({"a": 20_000, "b": 40_000})]
    whole = pool_points(points)
    assert (whole.sent, [(part.model, part.sent) for part in whole.parts]) == (200, [("a", 100), ("b", 100)])
    assert [round(part.response.max_us / 1e3) for part in whole.parts] == [20, 40]
