"""Real models, by name: right about batching, and servable. Opt-in: SERVE_CORPUS names a cache folder.

Models from registries are downloaded into it; those of scikit-learn and PyTorch are made where these are installed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_models import MADE, make_zipmap
from registry_models import FIXED_TO_1, MODELS, RegistryModel, fetch_model

from serve_deploy.errors import InvalidModelError
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model

pytestmark = pytest.mark.skipif("SERVE_CORPUS" not in os.environ, reason="set SERVE_CORPUS to a folder to fetch into")


@pytest.fixture(scope="module")
def cache() -> Path:
    """The folder that downloads are kept in."""
    folder = Path(os.environ["SERVE_CORPUS"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_packages_a_model_from_a_registry(model: RegistryModel, cache: Path, tmp_path: Path) -> None:
    """The batch axis is judged rightly, and a real Triton answers as ONNX Runtime does."""
    packaged = package_model(fetch_model(model, cache), PackageOptions(repository=tmp_path / "models"))

    assert (packaged.manifest.batching.max_batch_size > 0) == model.batchable, packaged.manifest.batching.evidence
    assert packaged.manifest.verification is not None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", FIXED_TO_1, ids=lambda model: model.name)
def test_frees_a_batch_of_1_where_the_proof_holds(model: RegistryModel, cache: Path, tmp_path: Path) -> None:
    """With `fix` the model batches, or stays as it was and a note says why."""
    options = PackageOptions(repository=tmp_path / "models", fix=True)
    packaged = package_model(fetch_model(model, cache), options)

    freed = any("which was fixed to 1" in fix for fix in packaged.manifest.fixes)
    assert (packaged.manifest.batching.max_batch_size > 0, freed) == (model.batchable, model.batchable)
    assert any("the batch stays fixed to 1" in note for note in packaged.notes) != model.batchable


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MADE)
def test_packages_a_model_that_a_converter_made(name: str, tmp_path: Path) -> None:
    """The same for models as today's converters write them."""
    make, batchable = MADE[name]
    make(tmp_path / "model.onnx")

    packaged = package_model(tmp_path / "model.onnx", PackageOptions(repository=tmp_path / "models"))

    assert (packaged.manifest.batching.max_batch_size > 0) == batchable, packaged.manifest.batching.evidence


@pytest.mark.filterwarnings("ignore")
def test_serves_a_zipmap_with_its_fix_only(tmp_path: Path) -> None:
    """scikit-learn's ZipMap is refused by name, and served once --fix has cut it off."""
    make_zipmap(tmp_path / "model.onnx")

    with pytest.raises(InvalidModelError, match="output_probability"):
        package_model(tmp_path / "model.onnx", PackageOptions(repository=tmp_path / "models"))
    packaged = package_model(tmp_path / "model.onnx", PackageOptions(repository=tmp_path / "models", fix=True))

    assert packaged.manifest.batching.max_batch_size > 0
    assert packaged.manifest.labels == {"output_probability": ("setosa", "versicolor", "virginica")}
