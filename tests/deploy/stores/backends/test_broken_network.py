"""Stores behind a network that breaks."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from broken_network import Once, Wire, broken_wire
from pushing import listing, pull, push
from store_servers import AZURE_ACCOUNT, aws_environment, azure_environment, gcs_environment

from serve_deploy.stores.address import StoreAddress, parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import find_snapshot

KINDS = ("seaweed", "gcs", "azurite")
MARK = b"-these bytes are known-"
Way = Callable[..., object]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of store."""
    return str(request.param)


@contextmanager
def _reached(kind: str, url: str, path: str) -> Iterator[StoreAddress]:
    """A store at the server of this URL."""
    environments = {"seaweed": aws_environment(), "gcs": gcs_environment(url), "azurite": azure_environment(url)}
    addresses = {
        "seaweed": f"s3://{url}/models/{path}", "gcs": f"gs://models/{path}",
        "azurite": f"as://{AZURE_ACCOUNT}/models/{path}",
    }  # fmt: skip
    with environments[kind]:
        yield parse_address(addresses[kind])


@pytest.fixture
def through(kind: str, request: pytest.FixtureRequest, new_path: Callable[[], str]) -> Iterator[Way]:
    """Open a way to the same store that breaks so; the wire, and the store's address by it."""
    path, url = new_path(), request.getfixturevalue(kind)
    with ExitStack() as stack:

        def open_way(**faults: object) -> tuple[Wire, StoreAddress]:
            wire = stack.enter_context(broken_wire(url, **faults))  # type: ignore[arg-type]
            return wire, stack.enter_context(_reached(kind, wire.url, path))

        yield open_way


def _write_models(repository: Path, sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        folder = repository / f"model{number}" / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(random.Random(number).randbytes(size) + MARK)
        (folder.parent / "config.pbtxt").write_text('backend: "onnxruntime"\n')


def test_a_push_and_a_pull_go_on_where_connections_are_cut(through: Way, tmp_path: Path) -> None:
    """Ten times; nothing is lost, and everything is what it was."""
    _write_models(tmp_path / "models", [1000, 3_000_000, 20_000_000, 0, 500_000])
    wire, store = through(cuts=[number * 2_000_000 for number in range(1, 11)])  # type: ignore[misc]
    pushed = push(tmp_path / "models", store)
    assert wire.cut_count == 10
    wire, store = through(cuts=[number * 2_000_000 for number in range(1, 11)])  # type: ignore[misc]
    pulled = pull(store, tmp_path / "pulled")
    assert wire.cut_count == 10
    assert listing(tmp_path / "pulled") == listing(tmp_path / "models")
    assert pulled.snapshot == pushed.snapshot


def test_bytes_that_change_on_the_way_are_sent_again(through: Way, tmp_path: Path) -> None:
    """The store's checksums tell, for a file that is sent whole and for one in parts."""
    _write_models(tmp_path / "models", [1000])
    for size in (1000, 9_000_000):
        _write_models(tmp_path / f"models-{size}", [size])
        change = Once(MARK, MARK[::-1])
        _, store = through(change=change)  # type: ignore[misc]
        push(tmp_path / f"models-{size}", store)
        assert change.done
        pull(store, tmp_path / f"pulled-{size}")
        assert listing(tmp_path / f"pulled-{size}") == listing(tmp_path / f"models-{size}")


def test_a_store_that_other_content_was_written_to_is_told_by_its_list(through: Way, tmp_path: Path) -> None:
    """Of the same size; nothing is downloaded."""
    _write_models(tmp_path / "models", [1000, 9_000_000])
    _, address = through()  # type: ignore[misc]
    push(tmp_path / "models", address)
    store = open_store(address)
    snapshot = find_snapshot(store, None)
    (file,) = (each for each in snapshot.files if each.size_bytes > 9_000_000)
    path = f"snapshots/{snapshot.id}/{file.path}"
    assert store.list_files(path)[path].checksum == file.stored
    (tmp_path / "other").write_bytes(b"x" * file.size_bytes)
    other = file.model_copy(update={"sha256": hashlib.sha256(b"x" * file.size_bytes).hexdigest()})
    store.upload(tmp_path / "other", other, path, lambda _count: None)
    assert store.list_files(path)[path].checksum != file.stored


def test_ctrl_c_ends_a_push_whose_connections_hang(seaweed: str, new_path: Callable[[], str], tmp_path: Path) -> None:
    """Without waiting for them."""
    _write_models(tmp_path / "models", [3_000_000] * 4)
    stalled, released = threading.Event(), threading.Event()
    passed = 0

    def stall(piece: bytes) -> bytes:
        nonlocal passed
        passed += len(piece)
        if passed > 2_000_000:
            stalled.set()
            released.wait()
        return piece

    with broken_wire(seaweed, change=stall) as wire, aws_environment():
        address = f"s3://{wire.url}/models/{new_path()}"
        push = subprocess.Popen([sys.executable, "-m", "serve_cli", "push", str(tmp_path / "models"), address])
        try:
            stalled.wait()
            push.send_signal(signal.SIGINT)
            # Requests hang for a minute and more before they are given up.
            assert push.wait(timeout=50) == 130
        finally:
            push.kill()
            push.wait()
            released.set()
