"""A function file is packaged as any model: proven, configured, written as a version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from function_files import BEST, write_function

from serve_deploy.errors import DestinationError, InvalidModelError, ServeError, UsageError, VerificationError
from serve_deploy.model_config import ConfigOptions, parse_config
from serve_deploy.packaging.functions.analysis import analyse_function
from serve_deploy.packaging.functions.package import is_function_file
from serve_deploy.packaging.options import BackendParameter, FrameworkOptions, PackageOptions
from serve_deploy.packaging.package import package_model
from serve_deploy.packaging.packaged import PackagedModel
from serve_deploy.progress import silent
from serve_deploy.python_models.function_file import read_function_file
from serve_deploy.python_models.standard_steps import standard_step
from serve_deploy.repository.model_folder import read_model_folder

_UNVERIFIED = PackageOptions(verify=False)


def package(source: Path, folder: Path, **options: object) -> PackagedModel:
    return package_model(source, replace(_UNVERIFIED, repository=folder / "models", **options))


def test_a_function_becomes_a_model_of_the_repository(tmp_path: Path) -> None:
    """Configuration, version folder, proof, samples with and without the optional input, and what it requires."""
    path = write_function(tmp_path, BEST + "\nimport PIL\n", names_txt="cat dog cow")
    packaged = package(path, tmp_path)
    config = parse_config((packaged.folder / "config.pbtxt").read_text())
    assert (config.backend, config.max_batch_size, config.HasField("dynamic_batching")) == ("python", 8, True)
    assert [(tensor.name, tensor.optional) for tensor in config.input] == [("scores", False), ("prefix", True)]
    assert packaged.not_verified == "`verify=False`"
    manifest = packaged.manifest
    assert (manifest.batching.verdict, manifest.source_name, manifest.samples) == ("batchable", "post.py:best", 8)
    assert manifest.requirements == tuple((packaged.folder / "1" / "requirements.txt").read_text().split())
    assert {file.path for file in manifest.files} >= {"1/model.py", "1/function/post.py", "1/function/names.txt"}
    note = f"Triton's image has Python and numpy only: install {manifest.requirements[0]} in it, as requirements.txt "
    assert packaged.notes == (f"{note}of its version folder lists",)
    assert read_model_folder(packaged.folder).needs == packaged.notes  # which serve chart says


def test_a_packed_environment_is_named_in_the_configuration(tmp_path: Path) -> None:
    """As a parameter of the backend, which the next version keeps."""
    path = write_function(tmp_path, "def one(x: Floats) -> Floats:\n    return x\n")
    parameter = BackendParameter("EXECUTION_ENV_PATH", "/envs/post.tar.gz")
    package(path, tmp_path, framework=FrameworkOptions(parameters=(parameter,)))
    folder = package(path, tmp_path, version=None).folder
    config = parse_config((folder / "config.pbtxt").read_text())
    assert config.parameters["EXECUTION_ENV_PATH"].string_value == "/envs/post.tar.gz"


def test_each_version_calls_its_own_function(tmp_path: Path) -> None:
    """Another file and function in the next version leave the first as it is."""
    first = write_function(tmp_path, "def one(x: Floats) -> Floats:\n    return x\n")
    second = write_function(tmp_path, "def two(x: Floats) -> Floats:\n    return x * np.float32(2)\n", "better.py")
    package(first, tmp_path, name="m")
    with pytest.raises(DestinationError, match="already exists"):
        package(second, tmp_path, name="m")
    folder = package(second, tmp_path, name="m", version=None).folder
    calls = [(folder / version / "function.json").read_text() for version in ("1", "2")]
    assert ['"one"' in calls[0], '"two"' in calls[1]] == [True, True]
    other = write_function(
        tmp_path, 'def f(x: Annotated[NDArray[np.int8], "batch"]) -> Floats:\n    return x\n', "o.py"
    )
    with pytest.raises(ServeError):
        package(other, tmp_path, name="m", version=None)


MIXED = {
    "centred": "x - x.mean(axis=0)",
    "sorted": "np.sort(x, axis=0)",
    "the first": "np.repeat(x[:1], len(x), axis=0)",
    "scaled": "x / np.abs(x).max()",
}


@pytest.mark.parametrize("case", MIXED)
def test_a_function_that_mixes_rows_is_refused(tmp_path: Path, case: str) -> None:
    """What it says by "batch" is proven, and what it does instead is said."""
    path = write_function(tmp_path, f"def f(x: Floats) -> Floats:\n    return {MIXED[case]}\n")
    with pytest.raises(InvalidModelError, match=r'post\.py:f says by "batch" that rows are apart, and they are not: '):
        package(path, tmp_path)
    assert not (tmp_path / "models" / "post").exists()


RETURNED = {
    "another type": ("x.astype(np.float64)", "'output' is float64 instead of float32"),
    "another shape": ("x[:, :2]", r"'output' has shape \[1, 2\] instead of \[-1, 3\]"),
    "one row for all": ("x[:1]", "'output' has 1 row for [0-9]+ given"),
    "no array": ("x.tolist()", "'output' is a list, not an array"),
}


@pytest.mark.parametrize("case", RETURNED)
def test_a_function_that_returns_something_else_is_refused_at_once(tmp_path: Path, case: str) -> None:
    """No further inputs are tried for what none of them would make right."""
    returned, message = RETURNED[case]
    path = write_function(tmp_path, f"def f(x: Floats) -> Floats:\n    return {returned}\n")
    with pytest.raises(InvalidModelError, match=rf"post\.py:f: {message}"):
        package(path, tmp_path)


def test_a_function_that_accepts_nothing_asks_for_samples(tmp_path: Path) -> None:
    """The last word is what it raised; with real inputs it is packaged."""
    code = (
        'def f(x: Annotated[NDArray[np.str_], "batch"]) -> Annotated[NDArray[np.int64], "batch"]:\n'
        "    return np.array([int(text) for text in x])\n"
    )
    path = write_function(tmp_path, code)
    with pytest.raises(VerificationError, match=r"accepted none of the .* invalid literal for int") as refusal:
        package(path, tmp_path)
    assert refusal.value.hint == "give real inputs with `samples`"
    np.savez(tmp_path / "samples.npz", x=np.array(["1", "23", "456"]))
    proof = package(path, tmp_path, samples=tmp_path / "samples.npz").manifest.batching
    assert (proof.verdict, proof.max_batch_size) == ("batchable", 8)
    np.savez(tmp_path / "samples.npz", x=np.array(["1", "two"]))
    with pytest.raises(InvalidModelError, match=r"post\.py:f: invalid literal for int\(\) with base 10: 'two'"):
        package(path, tmp_path, samples=tmp_path / "samples.npz", name="other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fix": True}, "`fix` has no meaning for a Python function"),
        ({"labels": "labels.txt"}, "`labels` has no meaning for a Python function"),
        ({"profiles": ("l4",)}, "`profiles` has no meaning for a Python function"),
        ({"config": ConfigOptions(threads=2)}, "`threads` has no meaning for a Python function"),
        ({"max_batch_size": 4}, '`max_batch_size=4`: the tensors of post.py:f do not begin with "batch"'),
    ],
)
def test_options_without_meaning_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    """Rather than ignored."""
    code = 'Row = Annotated[NDArray[np.float32], "n"]\ndef f(x: Row) -> Row:\n    return x\n'
    with pytest.raises(UsageError) as refusal:
        package(write_function(tmp_path, code), tmp_path, **options)
    assert refusal.value.message == message


@pytest.mark.parametrize(
    ("source", "content", "is_one"),
    [
        ("post.py", "def f(): ...", True),
        ("post.py:f", "", True),
        ("nowhere.py", None, True),
        ("model.py", "class TritonPythonModel:\n    pass", False),
        ("model.onnx", "", False),
    ],
)
def test_function_files_are_told_from_other_sources(
    tmp_path: Path, source: str, content: str | None, is_one: bool
) -> None:
    """A model that is written for Triton already is no function file."""
    if content is not None:
        (tmp_path / source.partition(":")[0]).write_text(content)
    assert is_function_file(tmp_path / source, PackageOptions()) is is_one


def test_standard_steps_keep_rows_apart(tmp_path: Path) -> None:
    """The same proof holds for the steps that serve brings, on their own samples."""
    for name in ("decode_image", "top_k"):
        settings: dict[str, object] = {"size": [16, 16]} if name == "decode_image" else {"k": 2, "classes": 6}
        model = standard_step(name, settings, tmp_path)
        assert analyse_function(model, _UNVERIFIED, silent).batching.verdict == "batchable"


def test_what_is_not_run_is_not_called_proven(tmp_path: Path) -> None:
    """With a given batch size and no verification the function is not called."""
    path = write_function(tmp_path, "def f(x: Floats) -> Floats:\n    raise RuntimeError\n")
    options = replace(_UNVERIFIED, max_batch_size=4)
    found = analyse_function(read_function_file(path), options, silent)
    assert (found.batching.verdict, found.batching.max_batch_size, found.samples) == ("undecided", 4, ())
