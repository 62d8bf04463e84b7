"""serve diff, serve models and serve prune as they are typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from changed_models import CODE, config, model
from written_models import write_files

Serve = Callable[..., Any]


@pytest.fixture
def change(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Two repositories of one model, before and after."""

    def write(before: dict[str, str], after: dict[str, str]) -> tuple[Path, Path]:
        write_files(tmp_path / "old" / "a", before)
        write_files(tmp_path / "new" / "a", after)
        return tmp_path / "old", tmp_path / "new"

    return write


def test_diff_says_what_breaks_and_exits_7(serve: Serve, change: Any) -> None:
    """The table, the reason, the effect; the error names the model."""
    result = serve("diff", *change(model(), model(config(inputs="x FP64 [3]"))))
    assert result.returncode == 7
    assert "a: input changed in the configuration" in result.stdout
    assert "a: BREAKS: input x is FP64, not FP32" in result.stdout
    assert "in explicit mode, once it is asked to load a" in result.stdout
    assert "clients break: a" in result.stderr


@pytest.mark.parametrize(
    ("after", "fail_on", "code"),
    [
        (model(config(inputs="x FP64 [3]")), "never", 0),
        (model(config(batch=8)), "breaking", 0),
        (model("max_batch_size: many"), "breaking", 7),
        (model("max_batch_size: many"), "never", 0),
        (model(config(batch=8)), "reload", 7),
        (model(config(instances=2)), "reload", 0),
        (model(config(instances=2)), "change", 7),
        (model("# only a comment\n" + config()), "change", 0),
    ],
)
def test_diff_fails_on_what_was_asked(
    serve: Serve, change: Any, after: dict[str, str], fail_on: str, code: int
) -> None:
    """Breaking and refused changes, reloads or any change; nothing at all with `never`."""
    assert serve("diff", *change(model(), after), "--fail-on", fail_on).returncode == code


def test_diff_of_two_folders_of_a_model(serve: Serve, tmp_path: Path) -> None:
    """Their names do not matter; a folder that is replaced as a whole is loaded again."""
    write_files(tmp_path / "a", model())
    write_files(tmp_path / "b", model(notes_txt="new"))
    document = json.loads(serve("diff", tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert [(each["name"], each["action"]) for each in document["models"]] == [("b", "reload")]


def test_diff_of_a_replaced_folder(serve: Serve, change: Any) -> None:
    """Equal files are newer then."""
    folders = change(model(), model("# only a comment\n" + config()))
    assert "nothing changes" in serve("diff", *folders).stdout
    assert "a: its folder is replaced" in serve("diff", *folders, "--replaced").stdout


def test_diff_reads_the_profile_that_triton_reads(serve: Serve, change: Any) -> None:
    """With --model-config-name, configs/NAME.pbtxt counts, and config.pbtxt is a file like any other."""
    before = model(configs__l4_pbtxt=config())
    folders = change(before, model(configs__l4_pbtxt=config(instances=2)))
    plain = json.loads(serve("diff", *folders, "--json").stdout)
    named = json.loads(serve("diff", *folders, "--json", "--model-config-name", "l4").stdout)
    assert [each["models"][0]["action"] for each in (plain, named)] == ["reload", "in_place"]


def test_diff_refuses_what_holds_no_model(serve: Serve, tmp_path: Path) -> None:
    """A wrong path must not pass for "nothing changes"."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    result = serve("diff", tmp_path / "old", tmp_path / "new")
    assert (result.returncode, "contains a model" in result.stderr) == (2, True)


def test_diff_refuses_a_profile_that_no_model_has(serve: Serve, change: Any) -> None:
    """Triton would read every config.pbtxt in its place without a word."""
    result = serve("diff", *change(model(), model()), "--model-config-name", "l5")
    assert result.returncode == 2
    assert "no model has configs/l5.pbtxt" in result.stderr


def test_models_refuses_a_metrics_url_that_is_none(serve: Serve) -> None:
    """Before the server is asked."""
    result = serve("models", "http://127.0.0.1:9", "--metrics-url", "metrics")
    assert result.returncode == 2
    assert "--metrics-url metrics is not an address" in result.stderr


def test_diff_refuses_a_model_against_a_repository(serve: Serve, tmp_path: Path) -> None:
    """They cannot be compared."""
    write_files(tmp_path / "models" / "a", model())
    result = serve("diff", tmp_path / "models", tmp_path / "models" / "a")
    assert result.returncode == 2
    assert "is a model's folder" in result.stderr


def test_prune_says_what_goes(serve: Serve, tmp_path: Path) -> None:
    """First what would be removed, then what was; the second time there is nothing."""
    write_files(tmp_path / "models" / "a", model(versions={1: CODE * 1000, 2: CODE}))
    said = [
        serve("prune", tmp_path / "models", *options).stdout.splitlines()[-1] for options in (["--dry-run"], [], [])
    ]
    assert said == ["would remove 1 version, 1 MB", "removed 1 version, 1 MB", "nothing to remove"]


def test_prune_of_a_store_says_what_goes(serve: Serve, tmp_path: Path) -> None:
    """Without a cluster it is told how to go on; then the old snapshot goes."""
    for code in ("1", "2", "3"):
        write_files(tmp_path / code / "a", model(versions={1: code * 1000}))
        assert serve("push", tmp_path / code, tmp_path / "store").returncode == 0
    refused = serve("prune", tmp_path / "store", "--keep", "1", "--context", "none")
    assert (refused.returncode, "--ignore-releases removes by the policy alone" in refused.stderr) == (6, True)
    done = serve("prune", tmp_path / "store", "--keep", "1", "--ignore-releases")
    assert "unfinished" not in done.stdout
    assert "releases were not looked at" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("removed 1 snapshot, ")


def test_models_of_no_server(serve: Serve) -> None:
    """An endpoint that does not answer is exit code 6, with --watch too."""
    assert serve("models", "http://127.0.0.1:1").returncode == 6
    assert serve("models", "http://127.0.0.1:1", "--watch").returncode == 6
