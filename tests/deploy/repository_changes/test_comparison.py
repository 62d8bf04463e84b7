"""What is said of two repositories, without a Triton; tests/integration says whether a Triton agrees."""

from __future__ import annotations

import pytest
from changed_models import KINDS, Kind
from written_models import write_files

from serve_deploy.repository_changes.comparison import RepositoryChanges, compare_repositories
from serve_deploy.repository_changes.options import DiffOptions

SIGNS = {"kept": "", "loaded": "+", "reloaded": "↻", "unloaded": "-"}


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> RepositoryChanges:
    """All kinds of change at once, each to a model of its own."""
    root = tmp_path_factory.mktemp("repositories")
    for kind in KINDS:
        write_files(root / "old" / kind.name, kind.before)
        write_files(root / "new" / kind.name, kind.after)
    return compare_repositories(DiffOptions(old=str(root / "old"), new=root / "new"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_of_change(changes: RepositoryChanges, kind: Kind) -> None:
    """The action, the versions and whether clients break are those that a real Triton showed."""
    (found,) = [model for model in changes.models if model.name == kind.name]
    versions = " ".join(f"{SIGNS[each.action]}{each.version}" for each in found.versions)
    assert (found.action, versions, found.breaks) == (kind.action, kind.versions, kind.breaks), found
