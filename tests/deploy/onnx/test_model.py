"""Reading model files: what they say of themselves, and one clear line for files that are none."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from batching_models import parse_graph, save
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model, doubling_model, echo_model

from serve_deploy.errors import InvalidModelError
from serve_deploy.onnx.model import UnsupportedTensor, read_model
from serve_deploy.tensors.types import DataType, TensorSpec


def external_model(location: str = "weights.bin", **place: int) -> onnx.ModelProto:
    """y = x + w, with w outside of the file."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **place}.items():
        weight.external_data.add(key=key, value=str(value))
    node = helper.make_node("Add", ["x", "w"], ["y"])
    tensors = [("x", TensorProto.FLOAT, ("N", 4))], [("y", TensorProto.FLOAT, ("N", 4))]
    return build_model([node], *tensors, initializers=[weight])


def test_reads_the_signature(tmp_path: Path) -> None:
    """Names, types and shapes are those of the file; free, unnamed and negative dims are -1."""
    model = parse_graph("(float[N,3,?] x, int64 n) => (float[N,3,?] y) { y = Identity(x) }")
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = -1

    read = read_model(save(model, tmp_path))

    assert read.signature.inputs == (
        TensorSpec("x", DataType.FP32, (-1, -1, -1)),
        TensorSpec("n", DataType.INT64, ()),
    )
    assert (read.ir_version, read.opsets["ai.onnx"]) == (8, 17)


@pytest.mark.parametrize("number", sorted({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16}))
def test_reads_every_type_that_triton_serves(number: int, tmp_path: Path) -> None:
    """Each ONNX type has the Triton type of the same name."""
    read = read_model(save(echo_model(number, (2,)), tmp_path))

    assert not read.unsupported
    assert len(read.signature.inputs) == len(read.signature.outputs) == 1


def test_lists_what_triton_cannot_serve(tmp_path: Path) -> None:
    """A sequence and a complex tensor are left out of the signature and named with their types."""
    model = parse_graph("(float[N,3] x) => (float[N,3] y) { s = SequenceConstruct(x) y = Identity(x) }")
    model.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.COMPLEX64, [1]))

    read = read_model(save(model, tmp_path))

    assert read.unsupported == (
        UnsupportedTensor("c", "input", "tensor", "complex64 tensor"),
        UnsupportedTensor("s", "output", "sequence", "sequence of float tensor"),
    )
    assert [tensor.name for tensor in read.signature.outputs] == ["y"]


def test_sets_initializers_among_the_inputs_apart(tmp_path: Path) -> None:
    """An input with a default value comes last and is optional."""
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    tensors = [("w", TensorProto.FLOAT, (3,)), ("x", TensorProto.FLOAT, ("N", 3))]
    model = build_model([node], tensors, [("y", TensorProto.FLOAT, ("N", 3))], initializers=[weights], ir_version=3)

    read = read_model(save(model, tmp_path))

    assert [(tensor.name, tensor.optional) for tensor in read.signature.inputs] == [("x", False), ("w", True)]


def test_names_foreign_operators(tmp_path: Path) -> None:
    """The domains of operators that ONNX Runtime does not know are noted."""
    node = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
    model = build_model([node], [("x", TensorProto.FLOAT, ("N",))], [("y", TensorProto.FLOAT, None)])

    read = read_model(save(model, tmp_path))

    assert read.custom_domains == ("com.example",)


def test_finds_external_data_beside_the_model(tmp_path: Path) -> None:
    """The data's files are named by their absolute paths; subfolders are fine."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w").write_bytes(bytes(16))

    read = read_model(save(external_model("data/w"), tmp_path))

    assert read.external_files == (tmp_path / "data" / "w",)


def test_follows_links_within_one_store(tmp_path: Path) -> None:
    """A download cache keeps model and data as links into one folder of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    (blobs / "b").write_bytes(bytes(16))
    save(external_model(), blobs, "a")
    (snapshot / "model.onnx").symlink_to(blobs / "a")
    (snapshot / "weights.bin").symlink_to(blobs / "b")

    assert read_model(snapshot / "model.onnx").external_files == (snapshot / "weights.bin",)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin", ""])
def test_refuses_external_data_outside_of_the_folder(location: str, tmp_path: Path) -> None:
    """A model cannot make serve read or copy other files."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(16))

    with pytest.raises(InvalidModelError, match="outside the model's folder"):
        read_model(save(external_model(location), folder))


def test_refuses_external_data_behind_a_link_that_leaves(tmp_path: Path) -> None:
    """A link out of the folder is no way around that."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "weights.bin").symlink_to(tmp_path / "secret")

    with pytest.raises(InvalidModelError, match="outside the model's folder"):
        read_model(save(external_model(), folder))


def test_names_external_data_that_is_missing_or_short(tmp_path: Path) -> None:
    """A lost or cut data file is named before anything is loaded."""
    path = save(external_model(offset=8, length=16), tmp_path)

    with pytest.raises(InvalidModelError, match=r"'weights\.bin' is missing"):
        read_model(path)

    (tmp_path / "weights.bin").write_bytes(bytes(20))
    with pytest.raises(InvalidModelError, match="has 20 bytes, but the model reads up to byte 24"):
        read_model(path)


def write_zip(path: Path) -> None:
    """A zip archive, as torch.save writes it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


WRONG_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "does not exist"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "saved_model": (lambda path: ((path.mkdir()), (path / "saved_model.pb").touch()), "is a folder"),
    "empty": (lambda path: path.touch(), "is empty"),
    "random": (lambda path: path.write_bytes(os.urandom(4096)), "is not an ONNX|has no ONNX|is not ONNX"),
    "text": (lambda path: path.write_text("hello world, I am no model\n"), "is not an ONNX model"),
    "truncated": (lambda path: path.write_bytes(doubling_model().SerializeToString()[:-9]), "truncated|no ONNX graph"),
    "torch": (write_zip, "zip archive, as PyTorch"),
    "pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "Python pickle"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "Keras/HDF5"),
    "engine": (lambda path: path.write_bytes(b"ftrt\x00\x00"), "TensorRT engine"),
    "git_lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "page": (lambda path: path.write_text("<!DOCTYPE html><html></html>"), "web page"),
    "no_graph": (lambda path: path.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString()), "no ONNX graph"),
}


@pytest.mark.parametrize("kind", WRONG_FILES)
def test_says_in_one_line_what_a_wrong_file_is(kind: str, tmp_path: Path) -> None:
    """Every file that is no ONNX model is refused with what it is, not with a parser's complaint."""
    make, words = WRONG_FILES[kind]
    path = tmp_path / "model.onnx"
    make(path)

    with pytest.raises(InvalidModelError, match=words) as refusal:
        read_model(path)

    assert "\n" not in refusal.value.message
    assert str(path) in refusal.value.message


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=400), cut=st.integers(0, 80))
def test_survives_any_bytes(content: bytes, cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever a file holds, it is read or refused; nothing else is raised."""
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(doubling_model().SerializeToString()[:cut] + content)

    try:
        read = read_model(path)
    except InvalidModelError:
        return
    assert read.signature.outputs is not None


@pytest.mark.parametrize(
    ("name", "hint"), [("saved_model.pb", "tf2onnx"), ("config.json", "`backend=vllm`"), ("a", "name the")]
)
def test_a_folder_of_another_format_is_told_where_it_belongs(tmp_path: Path, name: str, hint: str) -> None:
    """Also a language model's checkpoint, which the command packages with an engine."""
    (tmp_path / name).touch()
    with pytest.raises(InvalidModelError, match="is a folder") as refused:
        read_model(tmp_path)
    assert refused.value.hint
    assert hint in refused.value.hint
