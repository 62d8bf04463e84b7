"""An ensemble and its members on a real Triton: what they are sent, and overridden together on a running server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from timed_models import MODELS_OF_A_SET as MODELS
from timed_models import add_ensemble, add_models_of_a_set

from serve_deploy import ServerOptions, TritonServer, TuneOptions, parse_endpoint, start_server
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.loadtest import ClosedLoop, LoadTestOptions, run_loadtest
from serve_deploy.samples.files import load_samples
from serve_deploy.tuning.candidates.candidate import BATCH, INSTANCES, Candidate
from serve_deploy.tuning.measuring.answers import Questions, keep_member_samples, keep_samples
from serve_deploy.tuning.servers.overrides import restore_overrides
from serve_deploy.tuning.servers.remote import remote_servers
from serve_deploy.tuning.servers.servers import LocalServed
from serve_deploy.tuning.task.subject import Subject, read_subject


def test_members_of_inner_ensembles_are_sent_what_they_get(tmp_path: Path) -> None:
    """Each doubles its input: of the first model's requests the second is sent the double, and then four times them."""
    repository = add_models_of_a_set(tmp_path / "models")
    add_ensemble(repository, "outer", ("both", "decode"), max_batch_size=1)
    subject = read_subject(TuneOptions(repository=repository, models=("outer",)))
    with start_server(ServerOptions(repository=repository, runtime="embedded", models=("outer",))) as server:
        server.require_models()
        endpoint = parse_endpoint(server.http_url)
        questions = Questions(LocalServed(server, repository, None), tmp_path, lambda _: None)
        _, samples = keep_samples(subject.folders["outer"], TuneOptions(), questions)
        paths = keep_member_samples(subject.flows[0], samples, questions)
        report = run_loadtest(LoadTestOptions(endpoint=endpoint, model="outer", loads=(ClosedLoop(2),), requests=20))
    encode, decode = ([float(each["x"].sum()) for each in load_samples(paths[name])] for name in ("encode", "decode"))
    assert decode == pytest.approx([factor * each for factor in (2, 4) for each in encode])
    inferences = {each.model: each.inferences for each in report.points[0].server}
    assert inferences == {"outer": 20, "both": 20, "encode": 20, "decode": 40}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of a running server."""
    return add_models_of_a_set(tmp_path_factory.mktemp("sets") / "models")


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[TritonServer]:
    """A server in explicit mode, whose models every test leaves as their files say."""
    options = ServerOptions(repository=repository, runtime="embedded", models=MODELS, explicit=True)
    with start_server(options) as server:
        server.require_models()
        yield server


def _configs(server: TritonServer) -> dict[str, Any]:
    with ControlPlane(parse_endpoint(server.http_url), timeout_seconds=120) as control:
        return {name: control.model_config(name) for name in MODELS}


def _subject(repository: Path) -> Subject:
    return read_subject(TuneOptions(repository=repository, models=("both",)))


def test_members_and_their_ensemble_are_overridden_and_put_back(
    repository: Path, server: TritonServer, tmp_path: Path
) -> None:
    """Both members together with the ensemble, and a member alone."""
    subject, before = _subject(repository), _configs(server)
    other = Candidate.of({**dict(subject.baseline.values), f"decode:{BATCH}": 1, f"encode:{INSTANCES}": 2})
    with remote_servers(parse_endpoint(server.http_url), subject.folders, tmp_path) as servers:
        servers.serve(subject.configs(other))
        now = _configs(server)
        assert [now[name]["max_batch_size"] for name in MODELS] == [1, 1, 1]
        assert now["encode"]["instance_group"][0]["count"] == 2
        servers.serve(subject.configs(Candidate.of({BATCH: 8}).placed("decode")))
        with ControlPlane(parse_endpoint(server.http_url), timeout_seconds=120) as control:
            assert control.model_config("decode")["max_batch_size"] == 8
        servers.serve(subject.configs(subject.baseline))
        assert _configs(server) == before
        servers.serve(subject.configs(other))
    assert _configs(server) == before
    assert list((tmp_path / "overrides").iterdir()) == []


_OVERRIDE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from serve_deploy import TuneOptions, parse_endpoint
from serve_deploy.tuning.candidates.candidate import BATCH, Candidate
from serve_deploy.tuning.servers.remote import remote_servers
from serve_deploy.tuning.servers.servers import LocalServed
from serve_deploy.tuning.task.subject import read_subject

subject = read_subject(TuneOptions(repository=Path(sys.argv[1]), models=("both",)))
with remote_servers(parse_endpoint(sys.argv[2]), subject.folders, Path(sys.argv[3])) as servers:
    servers.serve(subject.configs(Candidate.of({**dict(subject.baseline.values), f"encode:{BATCH}": 4})))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_put_back_as_one(repository: Path, server: TritonServer, tmp_path: Path) -> None:
    """All three models, told once."""
    before = _configs(server)
    killed = subprocess.run(
        [sys.executable, "-c", _OVERRIDE_AND_DIE, str(repository), server.http_url, str(tmp_path)],
        env=os.environ | {"TMPDIR": str(tmp_path)}, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert _configs(server)["encode"]["max_batch_size"] == 4
    (restored,) = restore_overrides(tmp_path)
    assert (restored.model, restored.problem) == ("encode, decode, both", None)
    assert _configs(server) == before
    assert restore_overrides(tmp_path) == ()
