"""The shell scripts that the pods run, run here."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from chart_cases import CHART
from web_server import served

SCRIPTS = CHART / "files" / "scripts"
FETCH = SCRIPTS / "fetch-models.sh"
TOKEN = "Bearer x y"


def _archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in ("digits/config.pbtxt", "digits/1/model.onnx"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


ARCHIVE = _archive()


class Handler(BaseHTTPRequestHandler):
    """Gives an archive away, a private one only to who has the token."""

    def do_GET(self) -> None:
        body = {"/models.tar.gz": ARCHIVE, "/private.tar.gz": ARCHIVE, "/text": b"no archive"}.get(self.path)
        denied = self.path.startswith("/private") and self.headers.get("Authorization") != TOKEN
        self.send_response(404 if body is None else 403 if denied else 200)
        self.end_headers()
        self.wfile.write(b"" if denied or body is None else body)

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A web server on loopback."""
    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def fetch(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-eu", FETCH, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_fetches_and_unpacks(url: str, tmp_path: Path) -> None:
    """The archive's folders become the repository, and nothing else is left."""
    result = fetch(f"{url}/models.tar.gz", tmp_path, hashlib.sha256(ARCHIVE).hexdigest())
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert (tmp_path / "digits/1/model.onnx").read_text() == "digits/1/model.onnx"


def test_sends_the_header(url: str, tmp_path: Path) -> None:
    """A private archive is fetched with the header out of the Secret's file, and not without it."""
    header = tmp_path / "header"
    header.write_text(f"Authorization: {TOKEN}")
    (tmp_path / "models").mkdir()
    assert fetch(f"{url}/private.tar.gz", tmp_path / "models").returncode != 0
    assert fetch(f"{url}/private.tar.gz", tmp_path / "models", "", header).returncode == 0
    assert (tmp_path / "models/digits").is_dir()


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("missing", "", "cannot fetch"),
        ("models.tar.gz", 64 * "0", "not modelRepository.http.sha256 0000"),
        ("text", "", "is not a tar archive"),
    ],
)
def test_says_what_is_wrong_with_an_archive(url: str, tmp_path: Path, path: str, sha256: str, message: str) -> None:
    """It ends with a sentence that names the address, and leaves no model behind."""
    result = fetch(f"{url}/{path}", tmp_path, sha256)
    assert result.returncode != 0
    assert message in result.stderr
    assert f"{url}/{path}" in result.stderr
    assert not any(entry.is_dir() for entry in tmp_path.iterdir())


def _pretend(folder: Path, **programs: str) -> dict[str, str]:
    """Programs of the multi-node images, which cannot be had here: each does what its line says."""
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{line}\n")
        (folder / name).chmod(0o755)
    return {
        "PATH": f"{folder}:/usr/bin:/bin", "LWS_GROUP_SIZE": "2", "POD_IP": "127.0.0.1",
        "LWS_LEADER_ADDRESS": "demo-triton-0.demo-triton.models",
    }  # fmt: skip


def test_ray_leader_waits_for_its_group(tmp_path: Path) -> None:
    """Triton starts with its own arguments once as many nodes as the group has are alive."""
    environment = _pretend(
        tmp_path,
        ray=f'echo "ray $*"; [ "$1" != status ] || {{ echo " 1 node_a" ; echo " 1 node_b"; }} > {tmp_path}/status; '
        f'[ "$1" != status ] || cat {tmp_path}/status',
        tritonserver='echo "triton $*"',
    )
    command = ["bash", "-eu", SCRIPTS / "ray-leader.sh", "8", "tritonserver", "--model-repository=/m"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.stdout.splitlines()[0].startswith("ray start --head --port=6379 --num-gpus=8")
    assert result.stdout.splitlines()[-1] == "triton --model-repository=/m"


def test_ray_worker_joins_its_leader(tmp_path: Path) -> None:
    """A worker stays in the foreground, so that its end is the pod's."""
    environment = _pretend(tmp_path, ray='echo "ray $*"')
    command = ["bash", "-eu", SCRIPTS / "ray-worker.sh", "8"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    last = result.stdout.splitlines()[-1]
    assert last.startswith("ray start --address=demo-triton-0.demo-triton.models:6379 --num-gpus=8")
    assert last.endswith("--block")


@pytest.mark.parametrize(
    ("loads", "ranks_load"),
    [
        (["--model-control-mode=explicit", "--load-model=DeepSeek-V3"], ["--load-model=DeepSeek-V3"]),
        ([], ["--load-model=*"]),
    ],
)
def test_mpi_leader_starts_a_rank_on_every_gpu(tmp_path: Path, loads: list[str], ranks_load: list[str]) -> None:
    """Rank 0 answers requests; the others load the same models, and keep their ports closed."""
    environment = _pretend(
        tmp_path, ssh='[ "${*: -2:1}" = demo-triton-0-1.demo-triton.models ]', install="true",
        mpirun='printf "%s\\n" "$@"',
    )  # fmt: skip
    command = [
        "bash",
        "-eu",
        SCRIPTS / "mpi-leader.sh",
        "2",
        "tritonserver",
        "--model-repository=/m",
        "--http-port=8000",
        *loads,
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    words = result.stdout.splitlines()
    assert words[words.index("--host") + 1] == "localhost:2,demo-triton-0-1.demo-triton.models:2"
    ranks = " ".join(words[words.index("--host") + 2 :]).split(" : ")
    assert [rank.split()[:4] for rank in ranks] == 4 * [["-n", "1", "tritonserver", "--model-repository=/m"]]
    assert ["--allow-http=false" in rank for rank in ranks] == [False, True, True, True]
    for rank in ranks[1:]:
        assert [word for word in rank.split() if word.startswith("--load-model")] == ranks_load


def test_mpi_worker_listens_for_its_leader_only(tmp_path: Path) -> None:
    """No password opens the worker's ssh server, and the script is sound."""
    script = SCRIPTS / "mpi-worker.sh"
    assert subprocess.run(["bash", "-n", script], timeout=300).returncode == 0
    assert "PasswordAuthentication=no" in script.read_text()
