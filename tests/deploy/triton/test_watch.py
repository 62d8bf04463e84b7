"""A repository is followed by its content."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from serve_deploy.errors import InvalidModelError
from serve_deploy.triton.watch import ModelChange, RepositoryWatch


class _Server:
    """Notes what it is told; refuses models called broken."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def load_model(self, name: str) -> None:
        self.told.append(f"load {name}")
        if name == "broken":
            raise InvalidModelError("refused")

    def unload_model(self, name: str) -> None:
        self.told.append(f"unload {name}")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def server() -> _Server:
    return _Server()


def _watch(repository: Path, *models: str) -> RepositoryWatch:
    watch = RepositoryWatch(repository, models)
    watch.look()
    return watch


def test_touched_and_equally_rewritten_files_are_no_change(repository: Path, server: _Server) -> None:
    """Only content counts."""
    watch = _watch(repository)
    model = repository / "one" / "1" / "model.onnx"
    os.utime(model, (1, 1))
    assert watch.apply_changes(server) == watch.apply_changes(server) == ()
    model.write_bytes(b"weights")
    assert watch.apply_changes(server) == watch.apply_changes(server) == ()
    assert server.told == []


def test_change_is_applied_once_it_has_settled(repository: Path, server: _Server) -> None:
    """A file that still grows is left alone until two looks see the same."""
    watch = _watch(repository)
    model = repository / "one" / "1" / "model.onnx"
    model.write_bytes(b"new")
    assert watch.apply_changes(server) == ()
    model.write_bytes(b"new weights")
    assert watch.apply_changes(server) == ()
    assert watch.apply_changes(server) == (ModelChange("one", "reloaded"),)
    assert watch.apply_changes(server) == ()
    assert server.told == ["load one"]


def test_new_and_removed_models_are_loaded_and_unloaded(repository: Path, server: _Server) -> None:
    """A model that comes is loaded, one that goes is unloaded; hidden folders are being prepared, and left alone."""
    watch = _watch(repository)
    shutil.rmtree(repository / "two")
    shutil.copytree(repository / "one", repository / "three")
    shutil.copytree(repository / "one", repository / ".staged")
    watch.apply_changes(server)
    assert watch.apply_changes(server) == (ModelChange("three", "loaded"), ModelChange("two", "unloaded"))


def test_refused_model_is_reported_once(repository: Path, server: _Server) -> None:
    """Triton's refusal is told, and not asked for again until the files change again."""
    watch = _watch(repository)
    shutil.copytree(repository / "one", repository / "broken")
    watch.apply_changes(server)
    assert watch.apply_changes(server) == (ModelChange("broken", "loaded", "refused"),)
    assert watch.apply_changes(server) == ()


def test_only_named_models_are_followed(repository: Path, server: _Server) -> None:
    """With names given, the others may change as they like."""
    watch = _watch(repository, "one")
    for name in ("one", "two"):
        (repository / name / "config.pbtxt").write_text("max_batch_size: 4")
    watch.apply_changes(server)
    assert watch.apply_changes(server) == (ModelChange("one", "reloaded"),)
