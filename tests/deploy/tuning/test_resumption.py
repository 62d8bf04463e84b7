"""A run that is cut short, anywhere and in any way, comes to the same result as one that was not."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from simulated_bench import Truth, Truths, Tuning

from serve_deploy.errors import DestinationError, EndpointError
from serve_deploy.reports.gates import parse_gate
from serve_deploy.tuning.candidates.candidate import INSTANCES, Candidate
from serve_deploy.tuning.results.result import TuningResult
from serve_deploy.tuning.task.objective import Goal
from serve_deploy.tuning.task.options import TuneOptions

OPTIONS = TuneOptions(concurrency=16, max_batch_size=8, max_instances=2, max_delay_us=0, finalists=2, max_rounds=6)
GOAL = Goal("throughput", (parse_gate("p99<60ms"),))


def _tuning(state: Path, **hooks: Any) -> Tuning:
    return Tuning(Truths.of(Truth(base=0.010, row=0.0005, largest=8)), OPTIONS, GOAL, state / "run.jsonl", **hooks)


def _found(result: TuningResult) -> dict[str, Any]:
    """All but how much was measured in which run."""
    return result.model_dump(exclude={"effort"})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TuningResult:
    """A run from start to end."""
    return _tuning(tmp_path_factory.mktemp("undisturbed"))()


class Interrupting:
    """Ctrl-C before every so-manieth measurement of all runs together."""

    def __init__(self, every: int) -> None:
        self._every, self._made = every, 0

    def __call__(self, _number: int) -> None:
        self._made += 1
        if self._made % self._every == 0:
            raise KeyboardInterrupt


def _until_done(tuning: Tuning, disturb: Callable[[], None] = lambda: None) -> tuple[TuningResult, int]:
    """Run again after each interruption; the result, and all measurements that were kept or made."""
    for _ in range(100):
        try:
            result = tuning()
        except KeyboardInterrupt:
            disturb()
        else:
            return result, result.effort.measurements + result.effort.resumed_measurements
    raise AssertionError("it does not come to an end")


def test_ctrl_c_anywhere_changes_nothing(tmp_path: Path, undisturbed: TuningResult) -> None:
    """Interrupted before every ninth measurement, it makes each once, and finds the same."""
    result, measurements = _until_done(_tuning(tmp_path, interrupt=Interrupting(9)))
    assert (_found(result), measurements) == (_found(undisturbed), undisturbed.effort.measurements)


def test_a_line_that_a_kill_tore_is_measured_again(tmp_path: Path, undisturbed: TuningResult) -> None:
    """A kill may cut what is being written: the rest counts, and the result is the same."""
    path = tmp_path / "run.jsonl"

    def tear() -> None:
        path.write_bytes(path.read_bytes()[:-100])

    result, measurements = _until_done(_tuning(tmp_path, interrupt=Interrupting(12)), tear)
    assert (_found(result), measurements) == (_found(undisturbed), undisturbed.effort.measurements)


def test_a_server_that_is_killed_is_started_again(tmp_path: Path, undisturbed: TuningResult) -> None:
    """Once is no fault of its configuration, which goes on as if nothing had been."""
    killed: list[int] = []

    def kill(number: int) -> None:
        if number == 9 and not killed:
            killed.append(number)
            raise EndpointError("the server stopped answering")

    result = _tuning(tmp_path, interrupt=kill)()
    assert (_found(result), len(killed)) == (_found(undisturbed), 1)


@contextmanager
def _full_disk() -> Iterator[None]:
    """No file grows."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_changes_nothing(tmp_path: Path, undisturbed: TuningResult) -> None:
    """What there was no room for is measured again after an interruption; the notes say that it could not be kept."""
    interrupted = _tuning(tmp_path, interrupt=Interrupting(8))
    with _full_disk(), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [note.partition(" in ")[0] for note in interrupted.notes] == ["measurements could not be kept"]
    assert _found(_tuning(tmp_path)()) == _found(undisturbed)


def test_room_that_comes_back_is_used(tmp_path: Path, undisturbed: TuningResult) -> None:
    """What waited is written with the next measurement, so that nothing is lost."""
    full = _full_disk()

    def fill(number: int) -> None:
        if number == 3:
            full.__enter__()
        if number == 6:
            full.__exit__(None, None, None)
        if number == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _tuning(tmp_path, interrupt=fill)()
    result = _tuning(tmp_path)()
    assert result.effort.resumed_measurements == 9
    assert _found(result) == _found(undisturbed)


def test_a_disk_without_room_for_a_server_blames_no_configuration(tmp_path: Path, undisturbed: TuningResult) -> None:
    """The run ends with what happened, and the next one has the same result."""

    def fail(candidate: Candidate) -> None:
        if candidate[INSTANCES] == 2:
            raise DestinationError("no space left on device")

    with pytest.raises(DestinationError):
        _tuning(tmp_path, fail=fail)()
    assert _found(_tuning(tmp_path)()) == _found(undisturbed)
