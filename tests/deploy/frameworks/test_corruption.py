"""Files that are cut short or damaged anywhere: refused in a line, or read as what they still are."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

import pytest
from framework_artefacts import MODELS, PLAN
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact
from serve_deploy.frameworks.kinds import find_kind, read_artefact

SUFFIXES = (".pt", ".pt2", ".xml", ".json", ".ubj", ".txt", ".tl", ".pkl", ".joblib")
FILES = sorted(path.name for path in MODELS.iterdir() if path.suffix in SUFFIXES)
BEGINNINGS = (
    b"ftrt", b"PK\x03\x04", b"<?xml", b'{"learner"', b"{L\0\0\0\0\0\0\0\7learner", b"\x80\x04", b"tree\nversion=v4\n",
    bytes((4, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 2)),
)  # fmt: skip


def read_or_refuse(content: bytes, suffix: str) -> Artefact | None:
    """The artefact, or None where it was refused in one line with a next step."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"openvino{suffix}"
        shutil.copy(MODELS / "openvino.bin", folder)
        path.write_bytes(content)
        if find_kind(path) is None:
            return None
        try:
            return read_artefact(path, {})
        except InvalidModelError as error:
            refused = error
    assert "\n" not in refused.message
    assert refused.hint
    return None


def in_essence(artefact: Artefact) -> object:
    return (artefact.framework, artefact.inputs, artefact.outputs, artefact.parameters, artefact.facts)


@given(name=st.sampled_from(FILES), share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_short_is_refused_or_still_whole(name: str, share: float) -> None:
    """Only what stands behind the last tree of a LightGBM model can be missing without harm."""
    content = (MODELS / name).read_bytes()
    read = read_or_refuse(content[: int(share * len(content))], Path(name).suffix)
    assert read is None or in_essence(read) == in_essence(read_artefact(MODELS / name, {}))


@given(
    name=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=16),
)
def test_a_damaged_file_is_read_or_refused_in_a_line(name: str, changes: list[tuple[float, int]]) -> None:
    """Never with a traceback, whichever bytes are wrong."""
    content = bytearray((MODELS / name).read_bytes())
    for share, value in changes:
        content[int(share * len(content))] = value
    read_or_refuse(bytes(content), Path(name).suffix)


@given(start=st.sampled_from(BEGINNINGS), rest=st.binary(max_size=200))
def test_what_only_begins_as_a_model_is_refused(start: bytes, rest: bytes) -> None:
    """Any bytes may follow the magic."""
    read_or_refuse(start + rest, ".bin")


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_saved_model_that_is_cut_short_is_refused(share: float) -> None:
    """Half a graph has no signature."""
    content = (MODELS / "scorer.savedmodel" / "saved_model.pb").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(MODELS / "scorer.savedmodel", folder, dirs_exist_ok=True)
        (Path(folder) / "saved_model.pb").write_bytes(content[: int(share * len(content))])
        with pytest.raises(InvalidModelError):
            read_artefact(Path(folder), {})


@pytest.mark.parametrize("size", [0, 3, 4, 27, 63])
def test_a_plan_that_ends_within_its_header_is_refused(size: int, tmp_path: Path) -> None:
    """Its version would be another's bytes."""
    path = tmp_path / "model.plan"
    path.write_bytes(PLAN[:size])
    with pytest.raises(InvalidModelError):
        read_artefact(path, {})


def test_an_exported_program_without_its_graph_is_refused(tmp_path: Path) -> None:
    """Members can be missing from an archive that is whole otherwise."""
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(MODELS / "exported.pt2") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if not name.endswith("model.json"):
                target.writestr(name, source.read(name))
    with pytest.raises(InvalidModelError, match="but a corrupt one or cut short"):
        read_artefact(path, {})


def test_a_member_that_unpacks_without_end_is_not_unpacked(tmp_path: Path) -> None:
    """A few kilobytes of zeros, packed, can be gigabytes."""
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/constants.pkl", b"\x80\x02).")
        archive.writestr("model/code/__torch__.py", b"")
        with archive.open("model/data.pkl", "w") as member:
            for _ in range(65):
                member.write(bytes(1 << 20))
    assert path.stat().st_size < 100_000
    with pytest.raises(InvalidModelError, match="but a corrupt one or cut short"):
        read_artefact(path, {})


def test_a_length_beyond_the_file_takes_no_memory() -> None:
    """A checkpoint that claims 2^60 trees ends where its bytes end."""
    content = bytearray((MODELS / "treelite_binary.tl").read_bytes())
    content[14:22] = (1 << 60).to_bytes(8, "little")
    assert read_or_refuse(bytes(content), ".tl") is None
