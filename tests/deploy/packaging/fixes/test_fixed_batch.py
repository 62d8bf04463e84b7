"""Models exported for a batch of 1: freed where the proof then holds, and left alone where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from batching_models import parse_graph, save

from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import PackagedModel, package_model


def package(text: str, folder: Path, **options: object) -> PackagedModel:
    """Package a graph with `fix`, without a server."""
    given = PackageOptions(repository=folder / "models", fix=True, verify=False, **options)  # type: ignore[arg-type]
    return package_model(save(parse_graph(text), folder), given)


def run_packaged(packaged: PackagedModel, x: np.ndarray) -> np.ndarray:
    """What the packaged copy answers."""
    return open_model(packaged.folder / "1/model.onnx").run({"x": x})["y"]


def test_frees_a_batch_that_is_fixed_to_1(tmp_path: Path) -> None:
    """The fix is named, the batch is proven, and rows are answered one by one."""
    packaged = package("(float[1,4] x) => (float[1,4] y) { s = Softmax<axis=1>(x) y = Mul(s, x) }", tmp_path)

    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert packaged.manifest.fixes == ("made the batch of 'x' free, which was fixed to 1",)
    assert packaged.manifest.batching.max_batch_size == 8
    np.testing.assert_allclose(run_packaged(packaged, x)[1:2], run_packaged(packaged, x[1:2]), rtol=1e-6)


def test_frees_a_reshape_to_a_literal_1(tmp_path: Path) -> None:
    """A Reshape that says 1 keeps its first dimension instead; one of a constant stays."""
    packaged = package(
        """(float[1,2,3] x) => (float[1,6] y) <int64[2] flat = {1, -1}, float[6] b = {1,2,3,4,5,6}> {
            f = Reshape(x, flat) c = Reshape(b, flat) y = Add(f, c)
        }""",
        tmp_path,
    )

    assert packaged.manifest.fixes == ("made the batch of 'x' free, which was fixed to 1, also in 1 Reshape",)
    assert packaged.manifest.batching.max_batch_size == 8
    assert run_packaged(packaged, np.zeros((5, 2, 3), np.float32)).shape == (5, 6)


@pytest.mark.parametrize(
    "text",
    [
        "(float[1,4] x) => (float[1,4] y) { y = Softmax<axis=0>(x) }",
        "(float[1,4] x) => (float[1,4] y) { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) }",
        """(float[1,2,2] x) => (float[1,4] y) <int64[2] flat = {-1, 4}> {
            t = Transpose<perm=[1,2,0]>(x) y = Reshape(t, flat)
        }""",
    ],
    ids=["softmax over rows", "mean of rows", "rows taken apart"],
)
def test_leaves_a_model_alone_that_mixes_rows(text: str, tmp_path: Path) -> None:
    """The model stays as it was, and the note says why."""
    packaged = package(text, tmp_path)

    assert (packaged.manifest.fixes, packaged.manifest.batching.max_batch_size) == ((), 0)
    assert packaged.manifest.inputs[0].shape[0] == 1
    assert any(note.startswith("the batch stays fixed to 1: with it free, ") for note in packaged.notes)


def test_leaves_the_batch_alone_without_fix_or_where_none_is_wanted(tmp_path: Path) -> None:
    """Nothing is rewritten unasked, nor for `max_batch_size=0`."""
    text = "(float[1,4] x) => (float[1,4] y) { y = Relu(x) }"
    plain = package_model(
        save(parse_graph(text), tmp_path), PackageOptions(repository=tmp_path / "plain", verify=False)
    )

    assert plain.manifest.fixes == ()
    assert package(text, tmp_path, max_batch_size=0).manifest.fixes == ()
