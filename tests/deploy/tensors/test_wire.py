"""Arrays to and from Triton's binary tensors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serve_deploy.tensors.types import DataType
from serve_deploy.tensors.wire import decode_tensor, encode_tensor

NUMERIC = [data_type for data_type in DataType if data_type not in (DataType.BYTES, DataType.BF16)]


@given(data=st.data(), data_type=st.sampled_from(NUMERIC))
def test_numbers_come_back_the_same(data: st.DataObject, data_type: DataType) -> None:
    """Every type, every shape, also without elements."""
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    array = data.draw(arrays.arrays(np.dtype(data_type.numpy_name), shape))
    content = encode_tensor(data_type, array)
    assert len(content) == array.size * (data_type.size_bytes or 0)
    np.testing.assert_array_equal(decode_tensor(data_type, content, shape), array)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_strings_come_back_as_their_bytes(texts: list[str]) -> None:
    """Each with its length before it, so that any content is possible."""
    array = np.array(texts, dtype=object)
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    content = encode_tensor(DataType.BYTES, np.array(encoded, dtype=object))
    assert decode_tensor(DataType.BYTES, content, array.shape).tolist() == encoded


def test_strings_have_a_length_of_four_bytes() -> None:
    """As the protocol has it: little-endian, then the UTF-8 bytes."""
    assert encode_tensor(DataType.BYTES, np.array(["né", ""], dtype=object)) == b"\x03\0\0\0n\xc3\xa9\0\0\0\0"


def test_bytes_that_are_no_text_go_through_as_they_are() -> None:
    """What was read with surrogates is written back as it was."""
    raw = b"\xff\xfe"
    array = np.array([raw.decode("utf-8", "surrogateescape")], dtype=object)
    assert decode_tensor(DataType.BYTES, encode_tensor(DataType.BYTES, array), (1,))[0] == raw


@pytest.mark.parametrize(("value", "rounded"), [(1.0, 1.0), (1.00390625, 1.0), (-3.14159, -3.140625)])
def test_bf16_is_float32_rounded_to_its_upper_half(value: float, rounded: float) -> None:
    """numpy has no bfloat16 of its own."""
    content = encode_tensor(DataType.BF16, np.array([value], np.float32))
    assert len(content) == 2
    assert decode_tensor(DataType.BF16, content, (1,))[0] == rounded
