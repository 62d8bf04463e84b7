"""What a run has measured outlives it."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest
from repositories import add_model

from serve_deploy.arrivals.shapes import ClosedLoop
from serve_deploy.errors import DestinationError
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate
from serve_deploy.tuning.measured import Measured
from serve_deploy.tuning.measuring.checkpoint import Checkpoint, fingerprint, hold, state_folder
from serve_deploy.tuning.prediction.twins import simulated_point
from serve_deploy.tuning.task.options import TuneOptions
from serve_deploy.twin import ServedModel, ServerModel, ServiceTimes, simulate

CANDIDATE = Candidate.of({BATCH: 8})
SERVER = ServerModel(models=(ServedModel(name="m", service=ServiceTimes.linear(0.001, 0.0, 1)),))
MEASURED = Measured(point=simulated_point(simulate(SERVER, ClosedLoop(1), requests=10), ClosedLoop(1), None))


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    """Measurements by candidate and purpose, and failures."""
    path = tmp_path / "state" / "run.jsonl"
    first = Checkpoint(path)
    first.keep(CANDIDATE, "round 1", MEASURED)
    first.keep_failure(Candidate.of({BATCH: 16}), "does not load")
    again = Checkpoint(path)
    assert again.measurement(CANDIDATE, "round 1") == MEASURED
    assert again.measurement(CANDIDATE, "round 2") is None
    assert (again.failure(Candidate.of({BATCH: 16})), again.failure(CANDIDATE)) == ("does not load", None)


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_line_costs_one_measurement(tmp_path: Path, cut: int) -> None:
    """A kill while a line is written loses that line, and nothing that is written after it."""
    path = tmp_path / "run.jsonl"
    Checkpoint(path).keep(CANDIDATE, "round 1", MEASURED)
    Checkpoint(path).keep(CANDIDATE, "round 2", MEASURED)
    path.write_bytes(path.read_bytes()[:-cut])
    resumed = Checkpoint(path)
    resumed.keep(CANDIDATE, "round 3", MEASURED)
    found = [Checkpoint(path).measurement(CANDIDATE, f"round {number}") for number in (1, 2, 3)]
    assert found == [MEASURED, None, MEASURED]


def test_two_runs_do_not_share_a_checkpoint(tmp_path: Path) -> None:
    """Each would take the other's measurements for its own; afterwards nothing is left where nothing was measured."""
    path = tmp_path / "tune" / "run.jsonl"
    with hold(path), pytest.raises(DestinationError, match="running already"), hold(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_what_is_started_again_is_still_held(tmp_path: Path) -> None:
    """Its checkpoint is emptied, and not another file that somebody else could lock."""
    path = tmp_path / "run.jsonl"
    Checkpoint(path).keep(CANDIDATE, "round 1", MEASURED)
    with hold(path):
        assert Checkpoint(path, fresh=True).measurement(CANDIDATE, "round 1") is None
        with pytest.raises(DestinationError), hold(path):
            pass


def test_bytes_that_are_no_text_cost_their_line(tmp_path: Path) -> None:
    """As a crash of the machine leaves them."""
    path = tmp_path / "run.jsonl"
    Checkpoint(path).keep(CANDIDATE, "round 1", MEASURED)
    path.write_bytes(path.read_bytes() + b"\n\xff\x00\xfe")
    assert Checkpoint(path).measurement(CANDIDATE, "round 1") == MEASURED


def test_a_full_disk_is_said_once_and_the_run_goes_on(tmp_path: Path) -> None:
    """Measurements stay in memory, and one note says that they are not kept."""
    notes: list[str] = []
    checkpoint = Checkpoint(tmp_path / "run.jsonl", note=notes.append)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        checkpoint.keep(CANDIDATE, "round 1", MEASURED)
        checkpoint.keep(CANDIDATE, "round 2", MEASURED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert checkpoint.measurement(CANDIDATE, "round 2") == MEASURED
    assert [("could not be kept" in note, "too large" in note) for note in notes] == [(True, True)]


def test_another_question_is_another_run(tmp_path: Path) -> None:
    """What is asked, and what the model is, decide which measurements count; where the result goes does not."""
    add_model(tmp_path)
    folder = read_model_folder(tmp_path / "digits")
    asked = TuneOptions(repository=tmp_path, models=("digits",))
    own = fingerprint(asked, [folder])
    assert fingerprint(TuneOptions(repository=tmp_path, models=("digits",), fresh=True), [folder]) == own
    assert fingerprint(TuneOptions(repository=tmp_path, models=("digits",), slo=("p99<5ms",)), [folder]) != own
    os.utime(tmp_path / "digits" / "1" / "model.onnx", (1, 1))
    assert fingerprint(asked, [read_model_folder(tmp_path / "digits")]) != own


def test_another_serve_begins_anew(tmp_path: Path) -> None:
    """Whatever its version says: what failed under the old code may work, and be measured otherwise, under the new."""
    add_model(tmp_path)
    asked, folder = TuneOptions(repository=tmp_path, models=("digits",)), read_model_folder(tmp_path / "digits")
    code = tmp_path / "code" / "room"
    code.mkdir(parents=True)
    (code / "module.py").write_text("LIMIT = 1\n")
    before = fingerprint(asked, [folder], code.parent)
    assert fingerprint(asked, [folder], code.parent) == before
    (code / "module.py").write_text("LIMIT = 2\n")
    assert fingerprint(asked, [folder], code.parent) != before


def test_another_triton_begins_anew(tmp_path: Path) -> None:
    """What another Triton measured or did not load says nothing of this one; the user is told, once."""
    path, notes = tmp_path / "run.jsonl", []
    first = Checkpoint(path, note=notes.append)
    first.require_same("Triton 2.51.0")
    first.keep(CANDIDATE, "round 1", MEASURED)
    first.keep_failure(Candidate.of({BATCH: 16}), "does not load")
    same = Checkpoint(path, note=notes.append)
    same.require_same("Triton 2.51.0")
    assert (same.resumed, same.failure(Candidate.of({BATCH: 16})), notes) == (1, "does not load", [])
    for _ in range(2):
        other = Checkpoint(path, note=notes.append)
        other.require_same("Triton 2.52.0")
        kept = (other.measurement(CANDIDATE, "round 1"), other.failure(Candidate.of({BATCH: 16})))
        assert (other.resumed, kept, len(notes)) == (0, (None, None), 1)


def test_the_state_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_STATE_HOME where it is set, else below the home folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "serve"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "serve"
