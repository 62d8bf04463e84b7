"""A tensor's shape as a user writes it."""

from __future__ import annotations

from serve_deploy.errors import UsageError


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `IN:3,224,224`: an input and its sizes, all at least 1; UsageError for anything else."""
    name, separator, dims = text.rpartition(":")
    try:
        shape = tuple(int(dim) for dim in dims.split(","))
    except ValueError:
        shape = ()
    if not separator or not name or not shape or not 1 <= min(shape) <= max(shape) < 2**31:
        raise UsageError(f"`shapes={text}` is not a shape", hint="write it as INPUT:DIMS, such as IN:3,224,224")
    return name, shape
