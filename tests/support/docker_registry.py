"""A real registry for tests: Debian's docker-registry on loopback, ended by its own handle."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port


@dataclass(frozen=True)
class DockerRegistry:
    """Where a registry answers, what it logs, and the folder that it keeps everything in."""

    host: str
    folder: Path
    log: Path

    def blob(self, digest: str) -> Path:
        """The file that a blob is kept in."""
        name = digest.removeprefix("sha256:")
        return self._v2 / "blobs" / "sha256" / name[:2] / name / "data"

    def tagged(self, repository: str, tag: str) -> str:
        """The digest that a tag points to."""
        return (self.tags(repository) / tag / "current" / "link").read_text()

    def tags(self, repository: str) -> Path:
        """The folder that has a folder for each tag."""
        return self._v2 / "repositories" / repository / "_manifests" / "tags"

    def copy(self, repository: str, name: str) -> None:
        """Have another repository of the same images."""
        shutil.copytree(self._v2 / "repositories" / repository, self._v2 / "repositories" / name)

    def collect_garbage(self) -> int:
        """Let it remove what no manifest needs any more; the bytes of what it keeps."""
        program, settings = str(shutil.which("docker-registry")), str(self.log.parent / "registry.yml")
        subprocess.run([program, "garbage-collect", settings], check=True, capture_output=True, timeout=300)
        return sum(path.stat().st_size for path in self.folder.rglob("blobs/sha256/*/*/data"))

    def read(self, digest: str) -> Any:
        """A document that is kept."""
        return json.loads(self.blob(digest).read_bytes())

    def replace(self, digest: str, content: bytes) -> None:
        """Have the registry give other bytes for a digest, as a failing disk does."""
        self.blob(digest).write_bytes(content)

    def put_manifest(self, repository: str, tag: str, document: Mapping[str, Any]) -> None:
        """Keep a manifest and point a tag to it, without the registry's checks."""
        content = json.dumps(document).encode()
        digest = self.put_blob(repository, content)
        manifests = self._v2 / "repositories" / repository / "_manifests"
        link = manifests / "revisions" / "sha256" / digest[7:] / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)
        self.point(repository, tag, digest)

    def point(self, repository: str, tag: str, digest: str) -> None:
        """Point a tag to a manifest that is kept."""
        link = self.tags(repository) / tag / "current" / "link"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(digest)

    def put_blob(self, repository: str, content: bytes) -> str:
        """Keep a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        link = self._v2 / "repositories" / repository / "_layers" / "sha256" / digest[7:] / "link"
        for path in (self.blob(digest), link):
            path.parent.mkdir(parents=True, exist_ok=True)
        self.blob(digest).write_bytes(content)
        link.write_text(digest)
        return digest

    def requests(self) -> list[str]:
        """Method and path of every request that it has answered."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if "response completed" in line)
        return [f"{line['http.request.method']} {line['http.request.uri']}" for line in lines]

    @property
    def _v2(self) -> Path:
        return self.folder / "docker" / "registry" / "v2"


@contextmanager
def running_docker_registry(folder: Path, **config: Any) -> Iterator[DockerRegistry]:
    """Run one on a free port with more of its configuration; skips the test where it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed: make tools")
    host = f"127.0.0.1:{free_port()}"
    registry = DockerRegistry(host, folder / "registry", folder / "registry.log")
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(registry.folder)}, "delete": {"enabled": True}},
        **config,
        "http": {"addr": host, **config.get("http", {})},
    }
    (folder / "registry.yml").write_text(yaml.safe_dump(settings))
    with registry.log.open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "registry.yml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait_until_up(registry, process)
        yield registry
    finally:
        process.terminate()
        process.wait(timeout=300)


def _wait_until_up(registry: DockerRegistry, process: subprocess.Popen[bytes]) -> None:
    address, _, port = registry.host.rpartition(":")
    for _ in range(10_000):
        try:
            socket.create_connection((address, int(port)), timeout=5).close()
            return
        except OSError:
            try:
                process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
            break
    raise AssertionError(registry.log.read_text())


class CuttingProxy:
    """Hands connections on to a registry, and cuts the first `cuts` of them after so many bytes of one direction."""

    def __init__(self, target: str, *, cuts: int, after_bytes: int) -> None:
        self._target = target
        self._cuts, self._after = cuts, after_bytes
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self.done = 0

    def __enter__(self) -> CuttingProxy:
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        for each in (self._server, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _accept(self) -> None:
        threads: list[threading.Thread] = []
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._connect, args=(client,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _connect(self, client: socket.socket) -> None:
        host, _, port = self._target.rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            self._open += [client, server]
            back = threading.Thread(target=self._copy, args=(server, client))
            back.start()
            self._copy(client, server)
            back.join()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        moved = 0
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                moved += len(piece)
                if moved > self._after and self._may_cut():
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _may_cut(self) -> bool:
        with self._lock:
            if self.done >= self._cuts:
                return False
            self.done += 1
            return True
