"""How packaging treats the model that it was given."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from batching_models import parse_graph, save
from onnx_models import doubling_model

from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package, package_model
from serve_deploy.stores.address import parse_address


def needs_fix() -> onnx.ModelProto:
    """A model that loads only where there is a certain locale; a fixed copy loads anywhere."""
    return parse_graph("(string[N] x) => (string[N] y) { y = StringNormalizer(x) }")


@pytest.mark.parametrize(
    ("model", "fix", "loads"),
    [(doubling_model(), False, 1), (doubling_model(), True, 1), (needs_fix(), False, 1), (needs_fix(), True, 2)],
    ids=["as it is", "nothing to fix", "unfixed", "fixed"],
)  # fmt: skip
def test_loads_each_model_once(model: onnx.ModelProto, fix: bool, loads: int, tmp_path: Path) -> None:
    """One session finds samples, proves batching and says what to expect of Triton; a fixed copy is a second model."""
    said: list[str] = []
    source = save(model, tmp_path)
    options = PackageOptions(repository=tmp_path / "models", fix=fix, verify=False)

    packaged = package_model(source, options, progress=said.append)

    assert (bool(packaged.manifest.fixes), said.count(f"loading {source.name} into ONNX Runtime")) == (loads > 1, loads)


def test_files_that_are_no_models_are_told_before_a_store_is_asked(tmp_path: Path) -> None:
    """Missing or damaged ones. This store does not answer, and would be named after a minute of tries."""
    options = PackageOptions(repository=parse_address("s3://127.0.0.1:1/bucket/models"))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(doubling_model().SerializeToString()[:-9])
    summary = package([tmp_path / "gone.onnx", "lost.py:labels", damaged], options)
    assert [failed.error for failed in summary.failed] == [
        f"{tmp_path / 'gone.onnx'} does not exist", "lost.py does not exist",
        f"{damaged} is not an ONNX model, or a truncated one: it does not parse as one",
    ]  # fmt: skip
