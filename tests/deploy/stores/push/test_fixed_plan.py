"""What a push to a fixed layout may change, whatever is there and whatever comes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import DestinationError
from serve_deploy.stores.manifests.manifests import make_snapshot
from serve_deploy.stores.push.fixed_plan import Deletion, find_version, plan_fixed, write_order
from serve_deploy.stores.snapshot import SnapshotFile

NAMES = ("1/x", "1/y", "2/x", "config.pbtxt", "configs/l4.pbtxt", "l.txt")
PATHS = [f"{model}/{name}" for model in "ab" for name in NAMES]
CONTENTS = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(["0" * 64, "1" * 64]))
RESTS = st.booleans().map(lambda rests: lambda _model: rests)
DELETIONS = st.builds(Deletion, st.booleans(), st.booleans(), RESTS)


def files(contents: dict[str, str]) -> list[SnapshotFile]:
    """Files with these sha256, by path."""
    return [SnapshotFile(path=path, sha256=sha256, size_bytes=1) for path, sha256 in contents.items()]


@given(CONTENTS, CONTENTS, DELETIONS)
def test_versions_stay_as_they_are(old: dict[str, str], new: dict[str, str], deletion: Deletion) -> None:
    """Each is refused, kept with its content, or deleted where that is wanted and no reader can be loading it."""
    with suppress(DestinationError):
        plan = plan_fixed(files(new), make_snapshot(files(old)), old, deletion)
        planned, deleted = (
            {file.path: file.sha256 for file in plan.snapshot.files},
            {file.path for file in plan.deleted},
        )
        assert new.items() <= planned.items()
        assert planned.keys() | deleted >= old.keys()
        assert not planned.keys() & deleted
        versions = {path for path in deleted if find_version(path)}
        assert all(planned[path] == old[path] for path in old if find_version(path) and path not in deleted)
        changing = {path[0] for path in new if new[path] != old.get(path)} | {path[0] for path in deleted - versions}
        changing &= {path[0] for path in planned}  # a model that goes as a whole does not change
        assert not versions or (deletion.is_wanted and deletion.is_settled("a"))
        assert not {path[0] for path in versions} & changing


@given(CONTENTS, CONTENTS)
def test_a_second_push_of_the_same_has_nothing_to_do(old: dict[str, str], new: dict[str, str]) -> None:
    """Once what was postponed is gone, too."""
    deletion = Deletion(is_wanted=True, whole_models=True, is_settled=lambda _model: True)
    with suppress(DestinationError):
        snapshot, there = make_snapshot(files(old)), old
        for _push in range(3):
            plan = plan_fixed(files(new), snapshot, there, deletion)
            snapshot, there = plan.snapshot, {file.path: file.sha256 for file in plan.snapshot.files}
        assert there == new
        assert plan.deleted == plan.postponed == ()


@pytest.mark.parametrize(
    ("path", "order"),
    [
        ("m/1/model.onnx", 0),
        ("m/1/config.pbtxt", 0),
        ("m/labels.txt", 1),
        ("m/config.pbtxt", 2),
        ("m/configs/l4.pbtxt", 2),
    ],
)
def test_configurations_are_written_last(path: str, order: int) -> None:
    """A new one may need a new version, and what stands beside it."""
    assert write_order(path) == order
