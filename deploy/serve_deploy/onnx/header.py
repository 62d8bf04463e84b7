"""The IR version and opsets of an ONNX file without reading its weights: the few fields around the graph."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# Field numbers of ModelProto and OperatorSetIdProto, and protobuf's wire types.
_IR_VERSION, _OPSET_IMPORT = 1, 8
_DOMAIN, _VERSION = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_versions(path: Path) -> tuple[int, dict[str, int]]:
    """Read the IR version and the opset of each domain; a file that is not ONNX has IR version 0 and no opsets."""
    ir_version, opsets = 0, {}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for field, value in _read_fields(content, 0, len(content)):
                if field == _IR_VERSION and isinstance(value, int):
                    ir_version = value
                elif field == _OPSET_IMPORT and isinstance(value, slice):
                    opset = dict(_read_fields(content, value.start, value.stop))
                    domain, version = opset.get(_DOMAIN, slice(0)), opset.get(_VERSION, 0)
                    if isinstance(domain, slice) and isinstance(version, int):
                        opsets[content[domain].decode() or "ai.onnx"] = version
    except (OSError, ValueError, IndexError):
        return 0, {}
    return ir_version, opsets


def _read_fields(content: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int | slice]]:
    """Each field by its number: a varint's value, and where the bytes of a longer one are."""
    while position < end:
        key, position = _read_varint(content, position)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _read_varint(content, position)
            yield field, value
        elif kind == _BYTES:
            size, position = _read_varint(content, position)
            yield field, slice(position, position + size)
            position += size
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")


def _read_varint(content: mmap.mmap, position: int) -> tuple[int, int]:
    """A number of up to ten bytes, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than 64 bits")
