"""What can be read of a framework's model file without the framework."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import ReasonedValue
from serve_deploy.tensors.types import DataType

# What malformed bytes make the readers raise: of `struct`, slices, JSON, text, zip archives and nesting without end.
_MALFORMED = (
    ValueError, LookupError, TypeError, AttributeError, struct.error, EOFError, RecursionError, OverflowError,
    zipfile.BadZipFile, zlib.error, NotImplementedError, MemoryError, StopIteration,
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """An input or output as far as the file tells; None is what it does not."""

    name: str
    data_type: DataType | None = None
    shape: tuple[int, ...] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be given."""
        return self.data_type is not None and self.shape is not None


@dataclass(frozen=True)
class Artefact:
    """A model of a framework: what serves it, its files by their paths in the version folder, and what was read.

    `inputs` and `outputs` are None where the file does not list them. With `by_position` a tensor may also be called
    NAME__0, or whatever one likes. `rows_are_independent` says why a batch is nothing but its rows; None where that is
    not known. `parameters` are the backend's, and `reasons` are by path in config.pbtxt.
    """

    framework: str
    backend: str
    source: Path
    files: Mapping[str, Path]
    inputs: tuple[Tensor, ...] | None = None
    outputs: tuple[Tensor, ...] | None = None
    version: str | None = None
    facts: tuple[ReasonedValue, ...] = ()
    platform: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    shared_files: Mapping[str, Path] = field(default_factory=dict)
    device: Literal["cpu", "gpu"] | None = None
    by_position: bool = False
    rows_are_independent: str | None = None
    max_batch_size: int | None = None
    tensors_from: str = "the file"
    suggestion: str = ""
    notes: tuple[str, ...] = ()


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Say of a file that cannot be read as `what` that it is corrupt, in one line: InvalidModelError."""
    try:
        yield
    except InvalidModelError:
        raise
    except (*_MALFORMED, RuntimeError, OSError) as error:
        # An archive whose directory points before its beginning makes the seek itself fail.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            reason = (error.strerror or str(error)).lower()
            raise InvalidModelError(f"{path} cannot be read: {reason}", hint="check the file and its folder") from error
        raise InvalidModelError(
            f"{path} is {what}, but a corrupt one or cut short", hint="export or download it again"
        ) from error


def read_head(path: Path, size: int = 4096) -> bytes:
    """The first bytes of a file; empty where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError:
        return b""
