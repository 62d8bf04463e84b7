"""Arrays to and from Triton's binary tensors: row-major, little-endian; strings as a u32 length and bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.tensors.types import DataType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def encode_tensor(data_type: DataType, array: Array) -> bytes:
    """The bytes of an array; BF16 comes as float32, strings as `str` or `bytes` objects."""
    import numpy as np

    if data_type is DataType.BYTES:
        items = [encode_text(item) for item in array.flat]
        return b"".join(struct.pack("<I", len(item)) + item for item in items)
    if data_type is DataType.BF16:
        return to_bfloat16_bits(array).astype("<u2").tobytes()
    return array.astype(np.dtype(data_type.numpy_name).newbyteorder("<"), copy=False).tobytes()


def decode_tensor(data_type: DataType, content: bytes, shape: tuple[int, ...]) -> Array:
    """The array of a tensor's bytes: BF16 as float32, strings as `bytes` objects."""
    import numpy as np

    if data_type is DataType.BYTES:
        return _decode_strings(content, shape)
    if data_type is DataType.BF16:
        return from_bfloat16_bits(np.frombuffer(content, "<u2")).reshape(shape)
    return np.frombuffer(content, np.dtype(data_type.numpy_name).newbyteorder("<")).reshape(shape)


def count_bytes(array: Array) -> int:
    """How much an array holds: of strings their text, not the pointers to it."""
    return sum(map(len, map(encode_text, array.flat))) if array.dtype == object else array.nbytes


def count_largest(samples: Iterable[Mapping[str, Array]]) -> int:
    """How much the largest of some samples holds; 0 where there are none."""
    return max((sum(map(count_bytes, sample.values())) for sample in samples), default=0)


def encode_text(item: object) -> bytes:
    """One element of a string tensor as bytes; what was no UTF-8 when it was read comes out as it was."""
    return item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")


def _decode_strings(content: bytes, shape: tuple[int, ...]) -> Array:
    import numpy as np

    items, offset = [], 0
    while offset < len(content):
        (length,) = struct.unpack_from("<I", content, offset)
        items.append(content[offset + 4 : offset + 4 + length])
        offset += 4 + length
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def to_bfloat16_bits(array: Array) -> Array:
    """Round float32 to the nearest bfloat16 (ties to even) and return its 16 bits as uint16."""
    import numpy as np

    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16).reshape(np.shape(array))


def from_bfloat16_bits(bits: Array) -> Array:
    """Widen bfloat16 bits (uint16) to float32."""
    import numpy as np

    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(bits.shape)
