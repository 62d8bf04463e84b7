"""What a user gives as inputs becomes arrays that the model takes, or is refused before sending."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serve_deploy.endpoint.model import Model
from serve_deploy.errors import UsageError
from serve_deploy.inference.inputs import read_inputs
from serve_deploy.tensors.types import DataType, TensorSpec


def _model(*inputs: TensorSpec, batch: int = 0) -> Model:
    return Model(
        name="m", version="1", platform="", inputs=inputs, outputs=(), max_batch_size=batch, is_decoupled=False,
        is_sequence=False, members=(), config_sha256="", instances=1,
    )  # fmt: skip


_VECTOR = _model(TensorSpec("x", DataType.FP32, (-1, 3)), batch=4)
_TEXT = _model(TensorSpec("text", DataType.BYTES, (-1, 1)), batch=4)
_PAIR = _model(TensorSpec("a", DataType.INT64, (2,)), TensorSpec("a=b", DataType.UINT8, (1,)))


def _read(model: Model, *given: str) -> dict[str, list]:
    return {name: array.tolist() for name, array in read_inputs(model, given)[0].items()}


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        (_VECTOR, ["x=[1, 2, 3]"], {"x": [[1, 2, 3]]}),
        (_VECTOR, ["[[1, 2, 3], [4, 5, 6]]"], {"x": [[1, 2, 3], [4, 5, 6]]}),
        (_TEXT, ["plain words"], {"text": [["plain words"]]}),
        (_TEXT, ["text=a=b"], {"text": [["a=b"]]}),
        (_TEXT, ['["a", "b"]'], None),
        (_TEXT, ['[["a"], ["b"]]'], {"text": [["a"], ["b"]]}),
        (_TEXT, ["text=12"], {"text": [["12"]]}),
        (_PAIR, ["a=[1, 2]", "a=b=7"], {"a": [1, 2], "a=b": [7]}),
        (_PAIR, ["a=[1.0, 2.0]"], {"a": [1, 2]}),
        (_PAIR, ["a=[1.5, 2]"], None),
        (_PAIR, ["a=b=300"], None),
        (_PAIR, ["a=b=-1"], None),
        (_PAIR, ["a=[1, 2, 3]"], None),
        (_PAIR, ["[1, 2]"], None),
        (_PAIR, ["c=[1, 2]"], None),
        (_PAIR, ["a=[1, 2]", "a=[1, 2]"], None),
        (_VECTOR, ["x=[[1, 2], [3]]"], None),
        (_VECTOR, ["x=nonsense"], None),
        (_VECTOR, ['x=["a", "b", "c"]'], None),
        (_VECTOR, ["x=" + json.dumps([[0, 0, 0]] * 5)], None),
        (_VECTOR, ["@no-such-file.npy"], None),
    ],
)
def test_value_is_read_or_refused(model: Model, given: list[str], expected: dict[str, list] | None) -> None:
    """JSON and text are read into the model's type and shape; whatever does not fit is a UsageError."""
    if expected is None:
        with pytest.raises(UsageError):
            _read(model, *given)
    else:
        assert _read(model, *given) == expected


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_json_numbers_keep_their_value(values: list[float]) -> None:
    """Every float that FP32 can hold arrives unchanged."""
    assert _read(_VECTOR, f"x={json.dumps(values)}") == {"x": [values]}


@given(st.text(min_size=1).filter(lambda text: not text.startswith("@")))
def test_text_is_taken_as_it_is(text: str) -> None:
    """A string input gets the very characters that were given, unless they are a JSON string or list."""
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, (str, list)):
        assert _read(_TEXT, f"text={text}") == {"text": [[text]]}


def test_files_are_read_by_their_kind(tmp_path: Path) -> None:
    """.npy, .npz by the input's name, .json, and any file for a string."""
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(tmp_path / "x.npy", rows)
    np.savez(tmp_path / "x.npz", x=rows, other=rows[:1])
    (tmp_path / "x.json").write_text("[[0, 1, 2], [3, 4, 5]]")
    (tmp_path / "note.txt").write_bytes(b"caf\xc3\xa9")
    for name in ("x.npy", "x.npz", "x.json"):
        assert _read(_VECTOR, f"x=@{tmp_path / name}") == {"x": rows.tolist()}
    assert _read(_TEXT, f"@{tmp_path / 'note.txt'}") == {"text": [[b"caf\xc3\xa9"]]}
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.raises(UsageError, match=r"broken\.npy cannot be read"):
        _read(_VECTOR, f"@{tmp_path / 'broken.npy'}")


@pytest.mark.parametrize(
    ("shape", "data_type", "expected"),
    [
        ((-1, 3, 2, 4), "FP32", "NCHW, values 0 to 1"),
        ((-1, 2, 4, 3), "UINT8", "NHWC, values 0 to 255"),
        ((-1, 1, -1, -1), "FP32", "as grey, NCHW, values 0 to 1"),
        ((-1, 2, 4), "FP32", "HW, values 0 to 1"),
    ],
)
def test_picture_takes_the_models_layout(tmp_path: Path, shape: tuple[int, ...], data_type: str, expected: str) -> None:
    """Channels, size, axis order and scale follow from the input, and what was done is said."""
    Image.new("RGB", (8, 4), (255, 0, 0)).save(tmp_path / "red.png")
    model = _model(TensorSpec("image", DataType(data_type), shape), batch=1)
    arrays, notes = read_inputs(model, [f"@{tmp_path / 'red.png'}"])
    image = arrays["image"][0]
    assert expected in notes[0]
    sizes = {(-1, 1, -1, -1): (1, 1, 4, 8)}.get(shape, (1, *shape[1:]))
    assert arrays["image"].shape == sizes
    if shape[1] == 3:
        assert (image[0].max(), image[1].max()) == (1, 0)
    if shape[-1] == 3:
        assert image[0, 0].tolist() == [255, 0, 0]


def test_picture_for_another_shape_is_refused(tmp_path: Path) -> None:
    """An input that is not shaped like a picture takes none."""
    Image.new("L", (8, 4)).save(tmp_path / "grey.png")
    with pytest.raises(UsageError, match="not shaped like a picture"):
        _read(_model(TensorSpec("x", DataType.FP32, (3,))), f"@{tmp_path / 'grey.png'}")


@pytest.mark.parametrize(("scale", "expected"), [("unit", 1.0), ("signed", 1.0), ("none", 255.0), ("imagenet", 2.2489)])
def test_picture_scale(tmp_path: Path, scale: str, expected: float) -> None:
    """White is 1, 1, 255 or (1 - mean) / deviation of red."""
    Image.new("RGB", (2, 2), (255, 255, 255)).save(tmp_path / "white.png")
    model = _model(TensorSpec("image", DataType.FP32, (3, 2, 2)))
    arrays, _ = read_inputs(model, [f"@{tmp_path / 'white.png'}"], scale=scale)
    assert arrays["image"][0, 0, 0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("file", ["cat.jpg", "note.txt", "document.json"])
def test_a_file_goes_as_its_bytes_where_bytes_are_taken(tmp_path: Path, file: str) -> None:
    """A model that decodes pictures itself gets the file, not pixels; so does one that takes documents."""
    content = b'{"a": 1}' if file.endswith("json") else b"\xff\xd8 any bytes\0"
    (tmp_path / file).write_bytes(content)
    arrays, notes = read_inputs(_TEXT, [f"text=@{tmp_path / file}"])
    assert arrays["text"].tolist() == [[content]]
    assert notes == [f"text: {file}: {len(content)} bytes as they are"]


def test_a_file_goes_as_numbers_where_a_free_row_of_uint8_is_taken(tmp_path: Path) -> None:
    """Models that decode in TensorFlow or DALI take a file's bytes as UINT8 [-1]."""
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\0")
    for model in (
        _model(TensorSpec("x", DataType.UINT8, (-1, -1)), batch=4),
        _model(TensorSpec("x", DataType.UINT8, (-1,))),
    ):
        arrays, _notes = read_inputs(model, [f"@{tmp_path / 'cat.jpg'}"])
        assert arrays["x"].reshape(-1).tolist() == [255, 216, 0]
        assert (arrays["x"].dtype, arrays["x"].ndim) == (np.uint8, len(model.inputs[0].shape))
