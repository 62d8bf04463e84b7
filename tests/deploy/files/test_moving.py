"""Folders that take the place of others: all of them or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_deploy.files.moving import move_all, rename_with_flags


def _pairs(root: Path) -> list[tuple[Path, Path, bool]]:
    pairs = [(root / "staged" / name / name, root / name, True) for name in ("a", "b", "c")]
    for staged, destination, _ in pairs:
        for folder, content in ((staged, "new"), (destination, "old")):
            folder.mkdir(parents=True)
            (folder / "file").write_text(content)
    return pairs


def _read(root: Path) -> list[str]:
    return [(root / name / "file").read_text() for name in ("a", "b", "c")]


def test_all_are_swapped(tmp_path: Path) -> None:
    """What was there ends up in the staging folders."""
    pairs = _pairs(tmp_path)
    move_all(pairs)
    assert _read(tmp_path) == ["new"] * 3
    assert [(staged / "file").read_text() for staged, *_ in pairs] == ["old"] * 3


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("can_exchange", [True, False])
def test_an_error_takes_all_back(tmp_path: Path, last: int, can_exchange: bool) -> None:
    """Whichever of them fails, everything is as it was, on file systems without an exchange too."""
    pairs = _pairs(tmp_path)

    def rename(source: Path, target: Path, flags: int) -> bool:
        if source == pairs[last][0]:
            raise OSError(28, "No space left on device")
        return can_exchange and rename_with_flags(source, target, flags)

    with pytest.raises(OSError, match="No space"):
        move_all(pairs, rename=rename)
    assert _read(tmp_path) == ["old"] * 3
