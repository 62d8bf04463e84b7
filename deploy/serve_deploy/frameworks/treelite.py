"""Treelite checkpoints, version 4 of the format.

Source: treelite, docs/serialization/v4.rst.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, reading
from serve_deploy.frameworks.byte_cursor import ByteCursor
from serve_deploy.frameworks.fil import Trees, describe_trees

_TASKS = ("binary classifier", "regressor", "multi-class classifier", "ranking", "isolation forest")
_FORMAT = 4


def looks_like_treelite(head: bytes) -> bool:
    """Whether the header is plausible: a small version, then two of the three types that there are."""
    if len(head) < 22:
        return False
    major, minor, patch, threshold, leaf = struct.unpack_from("<iiiBB", head)
    return 2 <= major <= 6 and 0 <= minor < 100 and 0 <= patch < 100 and threshold in (2, 3) and leaf in (1, 2, 3)


def read_treelite(path: Path, parameters: Mapping[str, str]) -> Artefact:
    """Read a checkpoint that `Model.serialize` wrote; InvalidModelError where it is none."""
    with (
        reading(path, "a Treelite checkpoint"),
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        trees = _Checkpoint(path, content).read()
    return describe_trees(path, trees, parameters)


class _Checkpoint(ByteCursor):
    """Reads the fields in their order; arrays that nobody needs are passed over."""

    def __init__(self, path: Path, content: Any) -> None:
        super().__init__(content)
        self._path = path

    def read(self) -> Trees:
        major, minor, patch = (self._number("i") for _ in range(3))
        if major != _FORMAT:
            raise InvalidModelError(
                f"{self._path} was written by Treelite {major}.{minor}, and serve reads checkpoints of Treelite 4",
                hint="load it with the framework that it comes from, and serialize it with Treelite 4",
            )
        double = self._number("b") == 3
        self._number("b")
        count, features, task = self._number("Q"), self._number("i"), self._number("b")
        self._number("b")
        targets, classes = self._number("i"), self._numbers("i")
        if targets != 1 or len(classes) != 1:
            raise InvalidModelError(
                f"{self._path} has {targets} targets, and Triton's FIL backend serves models of one",
                hint="train a model for each target, or serve it as a Python model",
            )
        self._skip("i", "i", "i")
        postprocessor = self._array("b").decode("ascii")
        self._number("f")
        self._number("f")
        self._skip("d", "b")
        self._optional()
        for _ in range(count):
            self._tree("d" if double else "f")
        if not self.at_end:
            raise ValueError("more behind the end")
        return Trees(
            library="Treelite",
            model_type="treelite_checkpoint",
            file_name="checkpoint.tl",
            features=features,
            classes=2 if _TASKS[task] == "binary classifier" else classes[0] if "class" in _TASKS[task] else 0,
            objective=f"{_TASKS[task]} ({postprocessor})",
            version=f"{major}.{minor}.{patch}",
            trees=count,
        )

    def _tree(self, value: str) -> None:
        self._number("i")
        self._number("b")
        self._skip("b", "i", "i", "i", "b", value, value, "b", "b", value, "Q", "Q", "i", "Q", "Q")
        self._skip("Q", "b", "d", "b", "d", "b")
        self._optional()
        self._optional()

    def _optional(self) -> None:
        if self._number("i") != 0:
            raise ValueError("optional fields, which version 4 does not use")

    def _skip(self, *kinds: str) -> None:
        for kind in kinds:
            self.skip(self._number("Q") * struct.calcsize(f"<{kind}"))

    def _numbers(self, kind: str) -> list[int]:
        return [each for (each,) in struct.iter_unpack(f"<{kind}", self._array(kind))]

    def _array(self, kind: str) -> bytes:
        return self.take(self._number("Q") * struct.calcsize(f"<{kind}"))

    def _number(self, kind: str) -> int:
        number: int = self.number(f"<{kind}")
        return number
