"""Versions in a model repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.manifest import BatchingProof, FileDigest, Manifest, read_manifest
from serve_deploy.repository.model_repository import (
    ModelSource,
    check_model_name,
    choose_version,
    commit_version,
    default_model_name,
    digest_files,
    merge_manifests,
    place_model,
    read_existing,
    staged_model,
    write_shared,
)


def manifest(version: int, files: Sequence[FileDigest] = (), **changes: object) -> Manifest:
    return Manifest(
        tool_version="1", name="m", version=version, triton_release="24.10", source_name=f"source{version}.onnx",
        source_sha256="0", files=tuple(files), onnx_ir_version=8, onnx_opsets={"ai.onnx": 17}, inputs=(), outputs=(),
        batching=BatchingProof(verdict="undecided", max_batch_size=0, evidence=""),
    ).model_copy(update=changes)  # fmt: skip


def write_version(repository: Path, version: int, content: bytes = b"model", **shared: bytes) -> Manifest:
    existing = read_existing(repository / "m")
    with staged_model(repository, "m") as folder:
        place_model(folder, version, ModelSource(content, repository))
        write_shared(folder, {"config.pbtxt": f"# version {version}\n".encode(), **shared})
        return commit_version(folder, repository / "m", existing, manifest(version, digest_files(folder)))


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a b", "a:b", "é", "a%20b", "x" * 200, "a\0b", "a\n", '{"a": 1}', "~a"]
)
def test_names_that_triton_cannot_reach_are_refused(name: str) -> None:
    """Triton does not decode URLs, so that over HTTP only plain characters arrive."""
    with pytest.raises(UsageError) as refused:
        check_model_name(name)
    assert "`name`" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("digits.onnx", "digits"),
        ("my model (1).onnx", "my_model__1_"),
        ("v1.2.onnx", "v1.2"),
        (".x.onnx", "x"),
        ("é.onnx", "_"),
    ],
)
def test_the_default_name_is_the_files_made_fit(file: str, name: str) -> None:
    """So that nobody has to rename a file."""
    assert default_model_name(Path(file)) == name
    check_model_name(name)


def test_a_version_is_not_overwritten(tmp_path: Path) -> None:
    """Unless --force says so; `next` goes beside it."""
    write_version(tmp_path, 1)
    existing = read_existing(tmp_path / "m")
    with pytest.raises(DestinationError, match="already exists") as refused:
        choose_version(existing, 1, force=False)
    assert "`version=next`" in str(refused.value.hint)
    assert choose_version(existing, 1, force=True) == 1
    assert choose_version(existing, None, force=False) == 2
    assert choose_version(None, None, force=False) == 1


def test_a_configuration_of_somebody_elses_is_not_overwritten(tmp_path: Path) -> None:
    """Neither one that serve did not write, nor one that was edited since."""
    write_version(tmp_path, 1)
    config = tmp_path / "m" / "config.pbtxt"
    config.write_text("# mine\n")
    with pytest.raises(DestinationError, match="edited by hand"):
        choose_version(read_existing(tmp_path / "m"), 2, force=False)
    assert choose_version(read_existing(tmp_path / "m"), 2, force=True) == 2


def test_a_further_version_keeps_the_others_and_what_is_not_ours(tmp_path: Path) -> None:
    """Old versions are linked, not copied; shared files are the new version's."""
    write_version(tmp_path, 1, b"first", **{"labels.txt": b"old\n"})
    (tmp_path / "m" / "notes.md").write_text("mine")
    inode = (tmp_path / "m" / "1" / "model.onnx").stat().st_ino
    write_version(tmp_path, 2, b"second")
    folder = tmp_path / "m"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "config.pbtxt", "manifest.json", "notes.md"]
    assert (folder / "1" / "model.onnx").read_bytes() == b"first"
    assert (folder / "1" / "model.onnx").stat().st_ino == inode
    assert (folder / "2" / "model.onnx").read_bytes() == b"second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_the_manifest_knows_every_version(tmp_path: Path) -> None:
    """The newest on top with the shared files, whichever was written last."""
    write_version(tmp_path, 3)
    write_version(tmp_path, 1)
    read = read_manifest(tmp_path / "m")
    assert read is not None
    assert (read.version, [version.version for version in read.other_versions]) == (3, [1])
    assert [file.path for file in read.files] == ["3/model.onnx", "config.pbtxt"]
    assert [file.path for file in read.other_versions[0].files] == ["1/model.onnx"]
    assert (tmp_path / "m" / "config.pbtxt").read_text() == "# version 1\n"


def test_a_replaced_version_is_replaced_in_the_manifest() -> None:
    """And its old entry is gone."""
    old = manifest(1, source_name="old.onnx", other_versions=(manifest(2),))
    merged = merge_manifests(manifest(1, source_name="new.onnx"), old)
    assert (merged.version, [version.source_name for version in merged.other_versions]) == (2, ["new.onnx"])


def test_a_run_beside_ours_is_noticed(tmp_path: Path) -> None:
    """What was read at the start must still be so at the end."""
    with staged_model(tmp_path, "m") as folder:
        place_model(folder, 1, ModelSource(b"slow", tmp_path))
        write_version(tmp_path, 1, b"quick")
        with pytest.raises(DestinationError, match="changed during this run"):
            commit_version(folder, tmp_path / "m", None, manifest(1))
    assert (tmp_path / "m" / "1" / "model.onnx").read_bytes() == b"quick"


def test_external_data_makes_the_file_a_folder(tmp_path: Path) -> None:
    """As Triton wants it, with the data where the model looks for them."""
    source = tmp_path / "source"
    (source / "data").mkdir(parents=True)
    (source / "net.onnx").write_bytes(b"graph")
    (source / "data" / "weights").write_bytes(b"weights")
    folder = tmp_path / "m"
    folder.mkdir()
    file = place_model(folder, 1, ModelSource(source / "net.onnx", source, (source / "data" / "weights",)))
    assert file == folder / "1" / "model.onnx" / "model.onnx"
    assert file.read_bytes() == b"graph"
    assert (file.parent / "data" / "weights").read_bytes() == b"weights"


def test_a_file_where_the_model_should_go_is_a_conflict(tmp_path: Path) -> None:
    """It is not ours to remove."""
    (tmp_path / "m").write_text("mine")
    with pytest.raises(DestinationError, match="not a folder"):
        read_existing(tmp_path / "m")
