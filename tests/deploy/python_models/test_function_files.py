"""A typed function file becomes a Python model, or is refused in one line."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from function_files import BEST, HEAD, write_function

from serve_deploy.errors import InvalidModelError
from serve_deploy.python_models.function_file import read_function_file
from serve_deploy.tensors.types import DataType, TensorSpec

_IDENTITY = "def same(x: Floats) -> Floats:\n    return x\n"


def texts(*items: str | bytes) -> np.ndarray:
    made = np.empty(len(items), dtype=object)
    made[:] = items
    return made


def test_annotations_become_tensors(tmp_path: Path) -> None:
    """Types, shapes, the batch, optional inputs and the names of several outputs come from the annotations."""
    model = read_function_file(write_function(tmp_path, BEST, names_txt="cat dog cow"))
    assert model.signature.inputs == (
        TensorSpec("scores", DataType.FP32, (-1, 3)),
        TensorSpec("prefix", DataType.BYTES, (-1,), optional=True),
    )
    assert model.signature.outputs == (
        TensorSpec("name", DataType.BYTES, (-1,)),
        TensorSpec("total", DataType.FP32, (-1, 2)),
    )
    call = {"file": "post.py", "function": "best", "text": ["prefix"], "merges": True}
    assert (model.max_batch_size, json.loads(model.files["1/function.json"])) == (8, call)


def test_it_runs_here_as_in_triton(tmp_path: Path) -> None:
    """Text goes in as text, from str or bytes, and comes out as bytes; an optional input may be missing."""
    run = read_function_file(write_function(tmp_path, BEST, names_txt="cat dog cow")).run
    scores = np.array([[1, 0, 0], [0, 0, 5]], np.float32)
    assert run({"scores": scores})["name"].tolist() == [b"cat", b"cow"]
    answer = run({"scores": scores, "prefix": texts("é", b"big ")})
    assert answer["name"].tolist() == ["écat".encode(), b"big cow"]
    np.testing.assert_array_equal(answer["total"], scores[:, :2] * 2)


def test_what_a_function_prints_is_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout carries results and nothing else."""
    read_function_file(write_function(tmp_path, BEST, names_txt="a b c")).run({"scores": np.ones((1, 3), np.float32)})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("output", "returned"),
    [
        ("class Out(TypedDict):\n    a: Floats\n    b: Floats\n", 'Out(b=x * 2, a=x)'),
        ("@dataclass\nclass Out:\n    a: Floats\n    b: Floats\n", "Out(b=x * 2, a=x)"),
        ("class Out(NamedTuple):\n    a: Floats\n    b: Floats\n", "Out(x, x * 2)"),
    ],
)  # fmt: skip
def test_several_outputs_have_names(tmp_path: Path, output: str, returned: str) -> None:
    """A TypedDict, a dataclass and a NamedTuple name the outputs."""
    code = f"{output}\ndef both(x: Floats) -> Out:\n    return {returned}\n"
    ones = np.ones((2, 3), np.float32)
    answer = read_function_file(write_function(tmp_path, code)).run({"x": ones})
    assert {name: float(array[0, 0]) for name, array in answer.items()} == {"a": 1.0, "b": 2.0}


def test_without_a_batch_each_request_is_alone(tmp_path: Path) -> None:
    """Where no tensor begins with "batch", the model does not batch, and its shapes are whole."""
    code = (
        'def mean(x: Annotated[NDArray[np.float64], "n", 3]) -> Annotated[NDArray[np.float64], 3]:\n'
        "    return x.mean(0)\n"
    )
    model = read_function_file(write_function(tmp_path, code))
    assert (model.max_batch_size, [str(spec) for spec in model.signature.inputs]) == (0, ["x FP64 [-1, 3]"])
    assert model.run({"x": np.ones((4, 3))})["output"].tolist() == [1, 1, 1]


def test_what_the_file_names_goes_with_it(tmp_path: Path) -> None:
    """Modules that it imports and files that its strings name go along; others stay."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "big.txt").write_text("7")
    (tmp_path / "helper.py").write_text('from other import ONE\nTABLE = "table.csv"\n')
    (tmp_path / "other.py").write_text("ONE = 1\n")
    (tmp_path / "table.csv").write_text("1,2")
    (tmp_path / "secret.key").write_text("")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.py").write_text("")
    (tmp_path / "parts" / "two.py").write_text("")
    code = 'import helper\nfrom parts import one\nDATA = Path(__file__).parent / "data/"\n' + _IDENTITY
    files = read_function_file(write_function(tmp_path, code)).files
    carried = {path.removeprefix("1/function/") for path in files if path.startswith("1/function/")}
    assert carried == {"post.py", "helper.py", "other.py", "table.csv", "data/big.txt", "parts/one.py"}
    assert {"1/model.py", "1/serve_calling.py", "1/function.json"} == {path for path in files if path.count("/") == 1}


def test_helpers_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    """Each function imports the modules of its own folder, also late, and leaves none behind."""
    runs = []
    for number in (1, 2):
        code = "def times(x: Floats) -> Floats:\n    from helper import FACTOR\n    return x * np.float32(FACTOR)\n"
        path = write_function(tmp_path / str(number), code, helper_py=f"FACTOR = {number}")
        runs.append(read_function_file(path).run)
    ones = np.ones((1, 3), np.float32)
    assert [float(run({"x": ones})["output"][0, 0]) for run in (*runs, *runs)] == [1, 2, 1, 2]
    assert "helper" not in sys.modules


def test_its_folder_goes_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays in the temporary folder once the model is not used any more."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = read_function_file(write_function(tmp_path / "own", _IDENTITY))
    assert len(list(tmp_path.glob("serve-*"))) == 1
    del model
    gc.collect()
    assert list(tmp_path.glob("serve-*")) == []


def test_requirements_are_what_is_imported(tmp_path: Path) -> None:
    """Distributions by their installed versions, also those of modules beside it; not Python's own, nor numpy."""
    import PIL
    import yaml

    code = "import json, os.path\nimport helper\nfrom PIL import Image\n" + _IDENTITY
    model = read_function_file(write_function(tmp_path, code, helper_py="import yaml"))
    assert model.requirements == (f"pillow=={PIL.__version__}", f"PyYAML=={yaml.__version__}")
    assert model.files["1/requirements.txt"].decode().splitlines() == list(model.requirements)


def test_an_import_that_may_fail_is_no_requirement(tmp_path: Path) -> None:
    """What is only for type checkers, or tried for, need not be there; tried for and there, it counts."""
    import PIL

    code = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nowhere\n"
        "try:\n    import PIL\n    import nowhere_else\nexcept ImportError:\n    nowhere_else = None\n" + _IDENTITY
    )
    assert read_function_file(write_function(tmp_path, code)).requirements == (f"pillow=={PIL.__version__}",)


def test_a_shared_namespace_is_told_apart(tmp_path: Path) -> None:
    """Several distributions have a google in them; what is imported decides."""
    import google.protobuf

    code = "def same(x: Floats) -> Floats:\n    from google.protobuf import message\n    return x\n"
    found = read_function_file(write_function(tmp_path, code)).requirements
    assert found == (f"protobuf=={google.protobuf.__version__}",)


def test_a_function_may_write_into_its_inputs(tmp_path: Path) -> None:
    """What was given stays as it was."""
    code = "def doubled(x: Floats) -> Floats:\n    x *= 2\n    return x\n"
    ones = np.ones((1, 3), np.float32)
    answer = read_function_file(write_function(tmp_path, code)).run({"x": ones})
    assert (answer["output"][0, 0], ones[0, 0]) == (2, 1)


REFUSED = {
    "no annotation": ("def f(x) -> Floats:\n    return x\n", "post.py:f: input 'x' is not annotated"),
    "no shape": ("def f(x: NDArray[np.float32]) -> Floats:\n    return x\n", "post.py:f: input 'x' has no shape"),
    "no type": (
        'def f(x: Annotated[np.ndarray, "batch"]) -> Floats:\n    return x\n',
        "post.py:f: input 'x' is not an array with a type",
    ),
    "any type": (
        'def f(x: Annotated[NDArray[Any], "batch"]) -> Floats:\n    return x\n',
        "post.py:f: input 'x' is an array of typing.Any, which Triton does not serve",
    ),
    "no such type": (
        'def f(x: Annotated[NDArray[np.float31], "batch"]) -> Floats:\n    return x\n',
        "post.py:f: its annotations cannot be read: module 'numpy' has no attribute 'float31'",
    ),
    "complex": (
        'def f(x: Annotated[NDArray[np.complex64], "batch"]) -> Floats:\n    return x\n',
        "post.py:f: input 'x' is an array of complex64, which Triton does not serve",
    ),
    "objects": (
        'def f(x: Annotated[NDArray[np.object_], "batch"]) -> Floats:\n    return x\n',
        "post.py:f: input 'x' is an array of objects",
    ),
    "a list": ("def f(x: list[float]) -> Floats:\n    return x\n", "post.py:f: input 'x' has no shape"),
    "a zero": (
        'def f(x: Annotated[NDArray[np.int8], "batch", 0]) -> Floats:\n    return x\n',
        "post.py:f: input 'x' has the dimension 0",
    ),
    "no return": ("def f(x: Floats):\n    return x\n", "post.py:f does not say what it returns"),
    "returns nothing": ("def f(x: Floats) -> None:\n    pass\n", "post.py:f: what it returns has no shape"),
    "a tuple": (
        "def f(x: Floats) -> tuple[Floats, Floats]:\n    return x, x\n",
        "post.py:f returns a tuple, whose outputs have no names",
    ),
    "no inputs": ("def f() -> Floats:\n    return 1\n", "post.py:f takes no inputs"),
    "stars": ("def f(*x: Floats) -> Floats:\n    return x\n", "post.py:f: '*x' is no input"),
    "a default": ("def f(x: Floats, y: Floats = 3) -> Floats:\n    return x\n", "input 'y' has a default of its own"),
    "half a batch": (
        "def f(x: Floats) -> Annotated[NDArray[np.float32], 3]:\n    return x\n",
        "post.py:f: 'x' has a batch as its first dimension and 'output' has not",
    ),
    "two functions": (
        "def f(x: Floats) -> Floats:\n    return x\ndef g(x: Floats) -> Floats:\n    return x\n",
        "post.py has 2 functions: f, g",
    ),
    "no function": ("def _f(x: Floats) -> Floats:\n    return x\n", "post.py has no function"),
    "no Python": ("def f(x\n", "post.py, line 12: this is not Python"),
    "a zero byte": ("\0", "post.py: this is not Python"),
    "raises at load": ("1 / 0\n" + _IDENTITY, "post.py cannot be loaded: ZeroDivisionError: division by zero"),
    "exits at load": ("import sys\nsys.exit(3)\n" + _IDENTITY, "post.py cannot be loaded: SystemExit: 3"),
    "missing module": (
        "import nowhere_to_be_found\n" + _IDENTITY,
        "post.py imports nowhere_to_be_found, which is neither installed here nor a file beside it",
    ),
    "serve itself": ("import serve_deploy\n" + _IDENTITY, "post.py imports serve, which is not where Triton runs it"),
    "a file unnamed": (
        'NAME = "names"\n(Path(__file__).parent / f"{NAME}.txt").read_text()\n' + _IDENTITY,
        "post.py opens names.txt, which does not go with it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_served_is_refused_by_name(tmp_path: Path, case: str) -> None:
    """One line names the file, and what in it is wrong."""
    code, message = REFUSED[case]
    path = write_function(tmp_path, code, names_txt="a b")
    with pytest.raises(InvalidModelError) as refusal:
        read_function_file(path)
    assert message in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_helper_hides_no_module_of_pythons(tmp_path: Path) -> None:
    """In Triton its folder comes first, so that others would import it, too."""
    path = write_function(tmp_path, "import queue\n" + _IDENTITY, queue_py="")
    with pytest.raises(InvalidModelError, match=r"queue\.py hides Python's own module queue"):
        read_function_file(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("json.py", "json.py hides Python's own module json"), ("post-2.py", "post-2.py cannot be imported by its name")],
)
def test_a_file_needs_a_name_to_import(tmp_path: Path, name: str, message: str) -> None:
    """A name that hides one of Python's modules would break others in Triton."""
    with pytest.raises(InvalidModelError, match=message):
        read_function_file(write_function(tmp_path, _IDENTITY, name))


def test_a_function_is_chosen_by_name(tmp_path: Path) -> None:
    """Of several functions one is named; one that is not there is refused."""
    path = write_function(tmp_path, _IDENTITY + "def other(x: Floats) -> Floats:\n    return x\n")
    assert read_function_file(path, "other").source == "post.py:other"
    with pytest.raises(InvalidModelError, match=r"post\.py has no function 'third'"):
        read_function_file(path, "third")


RETURNED = {
    "x.tolist()": "'output' is a list, not an array",
    "x.astype(np.float64)": "'output' is float64 instead of float32",
    "x[:, :2]": r"'output' has shape \[2, 2\] instead of \[-1, 3\]",
    "x[:1]": "'output' has 1 row for 2 given",
    "(x, x)": "the function returned 2 arrays instead of 1",
    "x.astype('>f8')": "'output' is float64 instead of float32",
    "None": "'output' is a NoneType, not an array",
    "x.missing": "AttributeError: 'numpy.ndarray' object has no attribute 'missing'",
    "exit(2)": "SystemExit: 2",
}


@pytest.mark.parametrize("returned", RETURNED)
def test_what_it_returns_is_checked(tmp_path: Path, returned: str) -> None:
    """Another type, shape, or number of rows or arrays than was said is an error that names the output."""
    model = read_function_file(write_function(tmp_path, f"def f(x: Floats) -> Floats:\n    return {returned}\n"))
    with pytest.raises(InvalidModelError, match=RETURNED[returned]):
        model.run({"x": np.ones((2, 3), np.float32)})


def test_strings_must_be_strings(tmp_path: Path) -> None:
    """Numbers where strings are declared are refused."""
    code = 'def f(x: Floats) -> Annotated[NDArray[np.str_], "batch", 3]:\n    return x.astype(object)\n'
    model = read_function_file(write_function(tmp_path, code))
    with pytest.raises(InvalidModelError, match="'output' has a float where strings are declared"):
        model.run({"x": np.ones((1, 3), np.float32)})


def test_bytes_stay_as_they_are(tmp_path: Path) -> None:
    """Raw bytes with NULs and without meaning as text pass through; as text they are refused."""
    code = 'Raw = Annotated[NDArray[np.{}], "batch"]\ndef f(x: Raw) -> Raw:\n    return x\n'
    raw = read_function_file(write_function(tmp_path / "raw", code.format("bytes_")))
    assert raw.run({"x": texts(b"\xff\0a\0", "\udcff\0")})["output"].tolist() == [b"\xff\0a\0", b"\xff\0"]
    text = read_function_file(write_function(tmp_path / "text", code.format("str_")))
    with pytest.raises(InvalidModelError, match="'x' is not UTF-8 text: invalid start byte at byte 0"):
        text.run({"x": texts(b"\xff")})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A path that cannot be read, and one that is no text."""
    with pytest.raises(InvalidModelError, match=r"post\.py cannot be read: No such file or directory"):
        read_function_file(tmp_path / "post.py")
    (tmp_path / "post.py").write_bytes(HEAD.encode() + b"\xff")
    with pytest.raises(InvalidModelError, match=r"post\.py, line .*can't decode byte 0xff"):
        read_function_file(tmp_path / "post.py")
