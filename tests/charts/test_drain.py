"""A replica leaves: what the preStop sleep is for, seen on real Tritons and a client whose endpoints are stale."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
from chart_objects import Objects
from chart_pod import run_test_job, running_pod
from ports import free_ports

from serve_deploy.triton.process import ServerProcess

STALE_REQUESTS = 30


class Client:
    """Sends one request after the other, each on a new connection, to the endpoints that it believes in."""

    def __init__(self, endpoints: list[str]) -> None:
        self.endpoints = endpoints
        self.failures: list[str] = []
        self._done = threading.Condition()
        self._sent = 0
        self._stop = False

    def run(self) -> None:
        for index in count():
            endpoints = self.endpoints
            try:
                urllib.request.urlopen(f"{endpoints[index % len(endpoints)]}/v2/models/digits", timeout=120).close()
            except (OSError, urllib.error.URLError) as error:
                self.failures.append(str(error))
            with self._done:
                self._sent += 1
                self._done.notify_all()
                if self._stop:
                    return

    def wait_for(self, requests: int) -> None:
        """Return when so many more requests have ended, or one has failed."""
        with self._done:
            target = self._sent + requests
            assert self._done.wait_for(lambda: self._sent >= target or self.failures, timeout=300)

    def stop(self) -> None:
        with self._done:
            self._stop = True


@contextmanager
def sending(endpoints: list[str]) -> Iterator[Client]:
    client = Client(endpoints)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield client
    finally:
        client.stop()
        thread.join()


@pytest.fixture
def replicas(render: Callable[..., Objects], tmp_path: Path) -> Iterator[list[tuple[str, ServerProcess]]]:
    """Two ready replicas: the old one and the one that a rollout has started beside it."""
    with ExitStack() as running:
        found = []
        for name in ("old", "new"):
            ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
            objects = render({"server": {"ports": ports}, "lifecycle": {"exitTimeoutSeconds": 5}})
            (tmp_path / name).mkdir()
            process = running.enter_context(running_pod(objects, tmp_path / name))
            found.append((f"http://127.0.0.1:{ports['http']}", process))
        assert [run_test_job(objects, url).returncode for url, _ in found] == [0, 0]
        yield found


def test_no_request_is_dropped_with_the_sleep(replicas: list[tuple[str, ServerProcess]]) -> None:
    """The old replica serves while endpoints are out of date, and gets SIGTERM when nobody sends to it any more."""
    (old, process), (new, _) = replicas
    with sending([old, new]) as client:
        client.wait_for(STALE_REQUESTS)  # preStop sleeps; the endpoints still hold the old replica
        client.endpoints = [new]
        client.wait_for(2)  # what had begun has ended
        process.terminate()
        assert process.wait(300) is not None
        client.wait_for(STALE_REQUESTS)
    assert client.failures == []


def test_requests_are_dropped_without_it(replicas: list[tuple[str, ServerProcess]]) -> None:
    """SIGTERM before the endpoints change makes clients fail: Triton refuses new connections at once."""
    (old, process), (new, _) = replicas
    with sending([old, new]) as client:
        client.wait_for(STALE_REQUESTS)
        process.terminate()
        assert process.wait(300) is not None
        client.wait_for(STALE_REQUESTS)
    assert client.failures
