"""Samples: reading the user's files, and keeping them beside the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.samples.files import encode_samples, load_samples, read_samples
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

IMAGE = ModelSignature((TensorSpec("image", DataType.FP32, (-1, 2, 2)),), ())
TOKENS = ModelSignature((TensorSpec("ids", DataType.INT64, (-1, -1)), TensorSpec("mask", DataType.INT64, (-1, -1))), ())
TEXT = ModelSignature((TensorSpec("text", DataType.BYTES, (-1, 1)),), ())


def save(folder: Path, **arrays: Any) -> Path:
    """Write an .npz; `__` in a name stands for a slash."""
    path = folder / "samples.npz"
    np.savez(path, **{name.replace("__", "/"): np.asarray(array) for name, array in arrays.items()})
    return path


def test_splits_a_stack_into_samples_of_one_row(tmp_path: Path) -> None:
    """Three images in one array are three samples."""
    samples = read_samples(save(tmp_path, image=np.zeros((3, 2, 2), np.float32)), IMAGE)

    assert [sample["image"].shape for sample in samples] == [(1, 2, 2)] * 3


def test_keeps_a_stack_whole_on_request(tmp_path: Path) -> None:
    """A model that turned out not to batch gets the array as it was."""
    samples = read_samples(save(tmp_path, image=np.zeros((3, 2, 2), np.float32)), IMAGE, split=False)

    assert [sample["image"].shape for sample in samples] == [(3, 2, 2)]


def test_reads_samples_stacked_on_an_axis_of_their_own(tmp_path: Path) -> None:
    """An array of one more axis than the input is a list of samples."""
    samples = read_samples(save(tmp_path, image=np.zeros((5, 1, 2, 2), np.float32)), IMAGE)

    assert [sample["image"].shape for sample in samples] == [(1, 2, 2)] * 5


def test_reads_numbered_samples(tmp_path: Path) -> None:
    """Keys `<index>/<input>` are several samples, of different lengths if need be."""
    arrays = {f"{i}__{name}": np.ones((1, 4 + i), np.int64) for i in range(2) for name in ("ids", "mask")}

    samples = read_samples(save(tmp_path, **arrays), TOKENS)

    assert [sample["ids"].shape for sample in samples] == [(1, 4), (1, 5)]


def test_reads_a_folder_of_arrays(tmp_path: Path) -> None:
    """`<input>.npy` an input."""
    for name in ("ids", "mask"):
        np.save(tmp_path / f"{name}.npy", np.ones((2, 4), np.int64))

    assert len(read_samples(tmp_path, TOKENS)) == 2


def test_reads_a_folder_of_samples_of_the_only_input(tmp_path: Path) -> None:
    """Where there is one input, each file is a sample, whatever it is called."""
    for name in ("cat", "dog"):
        np.save(tmp_path / f"{name}.npy", np.ones((1, 2, 2), np.float32))

    assert len(read_samples(tmp_path, IMAGE)) == 2


def test_reads_a_single_array(tmp_path: Path) -> None:
    """A .npy is enough for a model with one input."""
    np.save(tmp_path / "x.npy", np.ones((1, 2, 2)))

    (sample,) = read_samples(tmp_path / "x.npy", IMAGE)

    assert sample["image"].dtype == np.float32


def test_reads_kserve_requests(tmp_path: Path) -> None:
    """A KServe v2 request, or a list of them."""
    request = {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["héllo"]}]}
    path = tmp_path / "requests.json"
    path.write_text(json.dumps([request, request]))

    samples = read_samples(path, TEXT)

    assert [sample["text"].tolist() for sample in samples] == [[["héllo"]]] * 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"picture": np.zeros((1, 2, 2))}, "no array for input 'image'"),
        ({"image": np.zeros((1, 2, 2)), "x": np.zeros(1)}, "no input 'x'"),
        ({"image": np.zeros((1, 3, 2))}, r"shape \[1, 3, 2\], the model takes \[-1, 2, 2\]"),
        ({"image": np.zeros(2)}, r"shape \[2\]"),
        ({"image": np.zeros((0, 2, 2))}, "a sample without rows"),
        ({"image": np.zeros((0, 1, 2, 2))}, "is empty"),
        ({"image": np.full((1, 2, 2), "a")}, "has type <U1"),
    ],
)
def test_says_what_does_not_fit_the_model(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Wrong names, shapes and types are named with what the model takes."""
    with pytest.raises(UsageError, match=words):
        read_samples(save(tmp_path, **arrays), IMAGE)


def test_refuses_numbers_that_the_type_cannot_hold(tmp_path: Path) -> None:
    """Casting never changes a value."""
    signature = ModelSignature((TensorSpec("x", DataType.UINT8, (-1,)),), ())

    with pytest.raises(UsageError, match="do not fit UINT8"):
        read_samples(save(tmp_path, x=np.array([300])), signature)


@pytest.mark.parametrize("name", ["missing.npz", "broken.npz", "broken.npy", "broken.json", "notes.txt"])
def test_says_which_file_cannot_be_read(name: str, tmp_path: Path) -> None:
    """A missing, broken or unknown file is a usage error that names it."""
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"no samples in here")

    with pytest.raises(UsageError, match=name):
        read_samples(tmp_path / name, IMAGE)


arrays = st.one_of(
    hnp.arrays(
        st.sampled_from(["float32", "float64", "float16", "int64", "uint8", "bool"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    ),
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=3).map(
        lambda texts: np.array(texts, dtype=object)
    ),
)


@given(sample=st.dictionaries(st.sampled_from(["x", "a/b:0", '{"k": 1}', "ü ber"]), arrays, min_size=1))
def test_keeps_samples_as_they_are(sample: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is written is what is read, and equal samples make equal bytes."""
    path = tmp_path_factory.getbasetemp() / "kept.npz"
    path.write_bytes(encode_samples([sample, sample]))

    loaded = load_samples(path)

    assert len(loaded) == 2
    for name, array in sample.items():
        np.testing.assert_array_equal(loaded[1][name], array)
        assert (loaded[1][name].dtype, loaded[1][name].shape) == (array.dtype, array.shape)
    assert encode_samples([sample, sample]) == path.read_bytes()


def test_refuses_to_load_something_else(tmp_path: Path) -> None:
    """A file that is no zip of arrays is an invalid model file, not a traceback."""
    (tmp_path / "samples.npz").write_bytes(b"PK nothing")

    with pytest.raises(InvalidModelError, match="cannot be read as samples"):
        load_samples(tmp_path / "samples.npz")


@pytest.mark.parametrize("content", [b"\xff\xd8\0\xd9", b"RIFF\xff\0\0", b"text\0"])
def test_keeps_bytes_that_are_no_text(content: bytes, tmp_path: Path) -> None:
    """A picture comes back byte for byte, with NULs at its end, also where the file is given as samples."""
    sample = {"text": np.array([[content.decode("utf-8", "surrogateescape")]], dtype=object)}
    (tmp_path / "kept.npz").write_bytes(encode_samples([sample]))
    loaded = load_samples(tmp_path / "kept.npz")[0]["text"]
    given = read_samples(tmp_path / "kept.npz", TEXT)[0]["text"]
    for each in (loaded, given):
        assert (each.shape, each.item().encode("utf-8", "surrogateescape")) == ((1, 1), content)


def test_any_file_is_a_sample_of_a_model_that_takes_files(tmp_path: Path) -> None:
    """A folder of pictures, or one of them, where the only input is a string."""
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden").write_bytes(b"")
    samples = read_samples(tmp_path, TEXT)
    found = [sample["text"].item().encode("utf-8", "surrogateescape") for sample in samples]
    assert (found, samples[0]["text"].shape) == ([b"\xff\xd8", b"\x89PNG"], (1, 1))
    assert len(read_samples(tmp_path / "a.jpg", TEXT)) == 1
    with pytest.raises(UsageError, match=r"a\.jpg is not in a known format"):
        read_samples(tmp_path / "a.jpg", IMAGE)
