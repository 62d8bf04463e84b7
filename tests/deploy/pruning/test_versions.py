"""Which versions go, which stay, and that nothing else is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from changed_models import CODE, config, ensemble, model
from hypothesis import given
from hypothesis import strategies as st
from repositories import make_manifest
from written_models import write_files

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.model_config import parse_config
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import prune as run_prune
from serve_deploy.repository.model_folder import select_versions

THREE = {1: CODE, 2: CODE, 3: CODE}
SPECIFIC = config(more="version_policy { specific { versions: [1, 2] } }")


def prune(repository: Path, *models: str, dry_run: bool = False) -> list[tuple[str, int]]:
    result = run_prune(PruneOptions(repository=repository, models=models, dry_run=dry_run))
    return [(each.model, each.version) for each in result.removed]


def versions(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (config(), ["3"]),
        (config(more="version_policy { latest { num_versions: 2 } }"), ["2", "3"]),
        (config(more="version_policy { all {} }"), ["1", "2", "3"]),
        (SPECIFIC, ["1", "2"]),
        (config(more="version_policy { specific { versions: [9] } }"), ["1", "2", "3"]),
    ],
)
def test_what_the_policy_serves_stays(tmp_path: Path, text: str, left: list[str]) -> None:
    """Everything else goes; where the policy serves nothing, all stay."""
    write_files(tmp_path / "models" / "a", model(text, versions=THREE))
    prune(tmp_path / "models")
    assert versions(tmp_path / "models" / "a") == left


@given(st.sets(st.integers(1, 20), min_size=1), st.integers(0, 25))
def test_the_newest_are_served(present: set[int], count: int) -> None:
    """`latest` serves as many of the newest as it says."""
    parsed = parse_config(f"version_policy {{ latest {{ num_versions: {count} }} }}")
    expected = tuple(sorted(present))[max(len(present) - count, 0) :]
    assert select_versions(parsed, tuple(sorted(present))) == expected


def test_dry_run_removes_nothing(tmp_path: Path) -> None:
    """It names the same versions and the bytes that they would free."""
    write_files(tmp_path / "models" / "a", model(versions=THREE))
    result = run_prune(PruneOptions(repository=tmp_path / "models", dry_run=True))
    assert [each.version for each in result.removed] == [1, 2]
    assert result.freed_bytes == 2 * len(CODE)
    assert versions(tmp_path / "models" / "a") == ["1", "2", "3"]


def test_version_that_an_ensemble_names_stays(tmp_path: Path) -> None:
    """Also where the model's own policy does not serve it."""
    write_files(tmp_path / "models" / "a", model(versions=THREE))
    write_files(tmp_path / "models" / "above", {"config.pbtxt": ensemble("a", version=1), "1/": ""})
    assert prune(tmp_path / "models") == [("a", 2)]


def test_version_that_a_profile_serves_stays(tmp_path: Path) -> None:
    """A Triton started with --model-config-name may serve other versions."""
    write_files(tmp_path / "models" / "a", model(versions=THREE, configs__l4_pbtxt=SPECIFIC))
    assert prune(tmp_path / "models") == []


def test_version_that_the_manifest_stands_on_stays(tmp_path: Path) -> None:
    """Its configuration, labels and samples are that version's."""
    write_files(tmp_path / "models" / "a", model(config(more="version_policy { specific { versions: [1] } }"),
                                                 versions=THREE))  # fmt: skip
    manifest = make_manifest("a").model_copy(update={"version": 3})
    (tmp_path / "models" / "a" / "manifest.json").write_text(manifest.model_dump_json())
    result = run_prune(PruneOptions(repository=tmp_path / "models"))
    assert [each.version for each in result.removed] == [2]
    assert "a version 3" in result.kept[0]


def test_folder_that_may_be_something_else_stays(tmp_path: Path) -> None:
    """A numbered folder without the model's file, and a link to another place, are left alone."""
    write_files(tmp_path / "models" / "a", model(versions={2024: CODE}))
    write_files(tmp_path / "models" / "a", {"7/photo.txt": "mine"})
    write_files(tmp_path / "elsewhere", {"model.py": CODE})
    os.symlink(tmp_path / "elsewhere", tmp_path / "models" / "a" / "8")
    assert prune(tmp_path / "models") == []
    assert (tmp_path / "elsewhere" / "model.py").exists()


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    """The times of all that stays are as they were, or a running Triton would load it again."""
    write_files(tmp_path / "models" / "a", model(versions=THREE, notes_txt="mine"))

    def times() -> dict[str, tuple[int, int]]:
        paths = [
            path for path in (tmp_path / "models" / "a").rglob("*") if path.relative_to(tmp_path).parts[2] not in "12"
        ]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths}

    before = times()
    assert prune(tmp_path / "models") == [("a", 1), ("a", 2)]
    assert times() == before
    assert os.listdir(tmp_path) == ["models"]


def test_only_the_named_models(tmp_path: Path) -> None:
    """The others keep their versions."""
    for name in ("a", "b"):
        write_files(tmp_path / "models" / name, model(versions=THREE))
    assert prune(tmp_path / "models", "b") == [("b", 1), ("b", 2)]


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    """No folder, an empty one, a model's own, and a name that is not there; a dry run says the same."""
    write_files(tmp_path / "models" / "a", model(versions=THREE))
    (tmp_path / "empty").mkdir()
    for path, names, message in (
        (tmp_path / "nowhere", (), "is not a folder"),
        (tmp_path / "empty", (), "contains no models"),
        (tmp_path / "models" / "a", (), "is a model's folder"),
        (tmp_path / "models", ("c",), "has no model 'c'"),
    ):
        for dry_run in (False, True):
            with pytest.raises(UsageError, match=message):
                prune(path, *names, dry_run=dry_run)


def test_configuration_that_cannot_be_read_stops_it(tmp_path: Path) -> None:
    """It may be of an ensemble that names any version."""
    write_files(tmp_path / "models" / "a", model(versions=THREE))
    write_files(tmp_path / "models" / "b", model("nonsense {"))
    with pytest.raises(InvalidModelError, match="what it needs is not known"):
        prune(tmp_path / "models")
    assert versions(tmp_path / "models" / "a") == ["1", "2", "3"]
