"""serve push, serve pull and serve snapshots as they are typed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from repositories import add_model

Serve = Callable[..., Any]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository of one model."""
    add_model(tmp_path / "models", packaged=False)
    return tmp_path / "models"


def test_a_repository_goes_through_a_store(serve: Serve, models: Path, tmp_path: Path) -> None:
    """Each command says what it did; a rollback names the snapshot before."""
    dry, first = (serve("push", models, tmp_path / "store", *more) for more in (["--dry-run"], []))
    assert "+ digits/1/model.onnx" in dry.stdout
    assert "2 files would be sent" in dry.stdout
    assert "2 files sent" in first.stdout
    config = models / "digits" / "config.pbtxt"
    config.write_text(config.read_text() + "# changed")
    second = serve("push", models, tmp_path / "store").stdout
    assert "1 file sent" in second
    assert "1 file copied inside the store" in second
    listed = json.loads(serve("snapshots", tmp_path / "store", "--json").stdout)
    assert len(listed["snapshots"]) == 2
    assert listed["current"] in second
    rolled = serve("snapshots", tmp_path / "store", "--use", listed["previous"][:8]).stdout
    assert f"{listed['previous']}   current" in rolled
    pulled = serve("pull", tmp_path / "store", tmp_path / "pulled")
    assert pulled.stdout.splitlines()[0] == "digits: written"
    assert "# changed" not in (tmp_path / "pulled" / "digits" / "config.pbtxt").read_text()
    assert pulled.stderr == ""


def test_the_fixed_layout_says_what_goes_and_what_waits(serve: Serve, models: Path, tmp_path: Path) -> None:
    """A model that is gone from the repository is not deleted while a reader may be loading it."""
    add_model(models, "letters", packaged=False)
    serve("push", models, tmp_path / "store", "--fixed")
    shutil.rmtree(models / "letters")
    waits = serve("push", models, tmp_path / "store", "--fixed", "--delete").stdout
    assert "letters: stays for now" in waits
    gone = serve("push", models, tmp_path / "store", "--fixed", "--delete", "--settle", "0").stdout
    assert "2 files deleted" in gone
    assert sorted(os.listdir(tmp_path / "store")) == ["digits", "snapshot.json"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["push", "models", "s3://key:secret@host/bucket"], 2, "contains a password"),
        (["push", "models", "ftp://host/models"], 2, "no store is read from ftp://"),
        (["push", "models", "store@0123"], 2, "names a snapshot"),
        (["push", "models", "store", "--delete"], 2, "--delete is for --fixed"),
        (["push", "models", "store", "-m", "none"], 2, "has no model 'none'"),
        (["push", "none", "store"], 2, "none is not a folder"),
        (["pull", "none", "pulled"], 2, "has no snapshot"),
        (["snapshots", "none"], 2, "none is not a folder"),
        (["snapshots", "empty", "--use", "0123"], 2, "no snapshot that begins with 0123"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    serve: Serve, models: Path, arguments: list[str], code: int, said: str
) -> None:
    """With the flags of the command line, a hint, and no traceback or secret."""
    (models.parent / "empty").mkdir()
    result = serve(*arguments, cwd=models.parent)
    assert (result.returncode, result.stdout) == (code, "")
    assert said in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr


def test_a_pull_over_other_files_and_of_damaged_ones(serve: Serve, models: Path, tmp_path: Path) -> None:
    """Exit codes 4 and 8."""
    serve("push", models, tmp_path / "store")
    pulled = tmp_path / "pulled"
    add_model(pulled, config="", packaged=False)
    assert serve("pull", tmp_path / "store", pulled).returncode == 4
    file = next((tmp_path / "store" / "snapshots").glob("*/digits/config.pbtxt"))
    file.write_text(file.read_text().replace("8", "9"))
    damaged = serve("pull", tmp_path / "store", pulled, "--force")
    assert damaged.returncode == 8
    assert "digits/config.pbtxt" in damaged.stderr
