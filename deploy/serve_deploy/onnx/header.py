"""The IR version and opsets of an ONNX file without reading its weights: the few fields around the graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Field numbers of ModelProto and OperatorSetIdProto, and protobuf's wire types.
_IR_VERSION, _OPSET_IMPORT = 1, 8
_DOMAIN, _VERSION = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# An opset's message holds a domain and a number; anything longer is skipped unread.
_MOST_BYTES = 1024


def read_versions(path: Path) -> tuple[int, dict[str, int]]:
    """Read the IR version and the opset of each domain; what is no ONNX file has IR version 0 and none."""
    ir_version, opsets = 0, {}
    try:
        with path.open("rb") as file:
            for field, value in _read_fields(file, file.seek(0, os.SEEK_END)):
                if field == _IR_VERSION and isinstance(value, int):
                    ir_version = value
                elif field == _OPSET_IMPORT and isinstance(value, bytes):
                    domain, version = _read_opset(value)
                    opsets[domain or "ai.onnx"] = version
    except (OSError, ValueError):
        return 0, {}
    return ir_version, opsets


def _read_opset(content: bytes) -> tuple[str, int]:
    import io

    fields = dict(_read_fields(io.BytesIO(content), len(content)))
    domain, version = fields.get(_DOMAIN, b""), fields.get(_VERSION, 0)
    return (domain.decode() if isinstance(domain, bytes) else "", version if isinstance(version, int) else 0)


def _read_fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int | bytes]]:
    """Each varint and each short byte field, by number; long ones are skipped."""
    file.seek(0)
    while file.tell() < end:
        key = _read_varint(file)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            yield field, _read_varint(file)
        elif kind == _BYTES:
            size = _read_varint(file)
            if size <= _MOST_BYTES:
                yield field, file.read(size)
            else:
                file.seek(size, os.SEEK_CUR)
        elif kind in (_FIXED32, _FIXED64):
            file.seek(4 if kind == _FIXED32 else 8, os.SEEK_CUR)
        else:
            raise ValueError(f"wire type {kind}")


def _read_varint(file: BinaryIO) -> int:
    value = shift = 0
    while shift < 64:
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends within a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise ValueError("a number of more than 64 bits")
