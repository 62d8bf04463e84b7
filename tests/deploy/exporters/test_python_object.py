"""Models that are named by where they stand in Python code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from serve_deploy.errors import InvalidModelError
from serve_deploy.exporters.export import recognise
from serve_deploy.exporters.python_object import ObjectName, is_function_of_arrays, load_object, parse_object_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("net.py:model", ObjectName("net.py", "model")),
        ("some folder/net.py:model", ObjectName("some folder/net.py", "model")),
        ("package.net:make_model", ObjectName("package.net", "make_model")),
        ("net:model", ObjectName("net", "model")),
        ("net.py", None),
        ("model.onnx", None),
        ("net.py:", None),
        ("net.py:two words", None),
        ("meta-llama/Llama-3.1-8B", None),
        ("https://host/model.onnx", None),
        ("models/net:model", None),
    ],
)
def test_a_colon_stands_between_module_and_attribute(text: str, name: ObjectName | None) -> None:
    """A file of Python, or a name that can be imported."""
    assert parse_object_name(text) == name


def test_a_file_that_is_called_so_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A colon may be part of a file's name."""
    monkeypatch.chdir(tmp_path)
    Path("net.py:model").touch()
    assert parse_object_name("net.py:model") is None


@pytest.mark.parametrize(
    ("text", "is_function"),
    [
        ("def model(x): return x", True),
        ("async def model(*, x): return x", True),
        ("def model(): return None", False),
        ("class model:\n    def __init__(self, x): pass", False),
        ("model = 3", False),
        ("from json import loads as model", False),
        ("", False),
        ("def broken(:", False),
    ],
)
def test_a_function_of_arrays_is_told_without_running_it(text: str, is_function: bool, tmp_path: Path) -> None:
    """It becomes a Python model; what takes no arguments makes a model."""
    name = write(tmp_path, f"{text}\nraise SystemExit")
    assert is_function_of_arrays(name) == is_function


def write(folder: Path, text: str, name: str = "net_of_a_test.py") -> ObjectName:
    (folder / name).write_text(text)
    return ObjectName(str(folder / name), "model")


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("net_of_a_test", "beside_it"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_file_imports_what_stands_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As if it were run there; what it prints goes to stderr, since stdout is the result's."""
    (tmp_path / "beside_it.py").write_text("number = 7")
    name = write(tmp_path, "from beside_it import number\nprint('running')\nmodel = number")
    before = list(sys.path)
    assert load_object(name) == 7
    assert sys.path == before
    assert capsys.readouterr() == ("", "running\n")


def test_a_package_is_imported_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python -m` does."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "model = 8")
    assert load_object(ObjectName("net_of_a_test", "model")) == 8


def test_a_file_hides_no_module_of_its_name(tmp_path: Path) -> None:
    """A file may be called json.py; the same file is run once."""
    import json

    name = write(tmp_path, "model = object()", "json.py")
    found = load_object(name)
    assert sys.modules["json"] is json
    assert found is not None
    again = write(tmp_path, "model = object()")
    assert load_object(again) is load_object(again)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero", "net_of_a_test.py, line 1"),
        ("import no_such_package", "the package no_such_package is not installed", "where serve is installed"),
        ("import torch.no_such_module", "is not installed", "torch"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3", "line 1"),
        ("model_2 = 1", "has no 'model'", "it has: model_2"),
        ("import re\nfrom pathlib import Path\ndef own(): pass", "has no 'model'", "it has: own"),
        ("def broken(:", "cannot be imported: SyntaxError", ""),
    ],
)
def test_code_that_fails_is_a_model_that_cannot_be_read(tmp_path: Path, text: str, message: str, hint: str) -> None:
    """In one line, with the place in the user's own file."""
    with pytest.raises(InvalidModelError) as refused:
        load_object(write(tmp_path, text))
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert hint in (refused.value.hint or "")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is run."""
    with pytest.raises(InvalidModelError, match="does not exist"):
        load_object(ObjectName(str(tmp_path / "net.py"), "model"))


def raises() -> None:
    raise RuntimeError("first\nlast")


def takes(x: int, y: int = 1) -> int:
    return x + y


@pytest.mark.parametrize(
    ("candidate", "message", "hint"),
    [
        (5, "net.py:m is of type int, not a model", "PyTorch module"),
        ({"weight": 1}, "is of type dict", "weights alone are no model"),
        (lambda: 5, "returns an object of type int, not a model", "PyTorch module"),
        (raises, "fails: RuntimeError: last", "test_python_object.py"),
        (takes, "takes arguments (x)", "step of serve pipeline"),
    ],
)
def test_what_is_no_model_is_refused(candidate: object, message: str, hint: str) -> None:
    """With what to name in its place."""
    with pytest.raises(InvalidModelError) as refused:
        recognise(candidate, "net.py:m")
    assert message in refused.value.message
    assert hint in (refused.value.hint or "")
