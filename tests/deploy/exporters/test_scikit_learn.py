"""scikit-learn estimators become ONNX files that answer as they do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_deploy.errors import ServeError, VerificationError
from serve_deploy.exporters.export import export_model
from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sklearn", reason="the extra sklearn is not installed")
    pytest.importorskip("skl2onnx", reason="the extra sklearn is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")

NUMBERS = np.random.default_rng(0)
X = NUMBERS.normal(size=(200, 4))
CLASSES = (X[:, 0] * X[:, 1] > 0).astype(int)
NAMES = np.array(["no", "yes"])[CLASSES]


def make(name: str) -> Any:
    """A fitted estimator of each kind."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(X, NAMES),
        "forest": lambda: RandomForestClassifier(10, random_state=0).fit(X, CLASSES),
        "regressor": lambda: GradientBoostingRegressor(n_estimators=10, random_state=0).fit(X, X[:, 0]),
        "clusters": lambda: KMeans(3, n_init=1, random_state=0).fit(X),
        "outliers": lambda: IsolationForest(n_estimators=10, random_state=0).fit(X),
        "transformer": lambda: PCA(2).fit(X),
        "unfitted": LogisticRegression,
    }[name]()


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("pipeline", {"label": (-1,), "probabilities": (-1, 2)}),
        ("forest", {"label": (-1,), "probabilities": (-1, 2)}),
        ("regressor", {"variable": (-1, 1)}),
        ("clusters", {"label": (-1,), "scores": (-1, 3)}),
        ("outliers", {"label": (-1, 1), "scores": (-1, 1)}),
        ("transformer", {"variable": (-1, 2)}),
    ],
)
def test_each_kind_of_estimator_has_plain_tensors_and_a_free_batch(
    name: str, outputs: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    """No ZipMap, no frozen batch, no FP64 input; the answers are compared with those of its methods."""
    exported = export_model(make(name), [{"features": X[:20]}], tmp_path / "m.onnx")
    signature = open_model(exported.file).signature
    (tensor,) = signature.inputs
    assert (tensor.name, tensor.data_type.value, tensor.shape) == ("features", "FP32", (-1, 4))
    assert {each.name: each.shape for each in signature.outputs} == outputs
    assert [parity.name for parity in exported.agreement.tensors] == list(outputs)
    assert exported.agreement.batch_sizes == (1, 2, 3, 5, 8)


def test_a_threshold_that_only_fp64_meets_keeps_fp64(tmp_path: Path) -> None:
    """A tree that was split between two numbers that are one in FP32."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    near = 1e6 + np.arange(8.0)[:, None] * 1e-3
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(near, np.arange(8.0))
    exported = export_model(model, [{"x": near}], tmp_path / "m.onnx")
    assert open_model(exported.file).signature.inputs[0].data_type.value == "FP64"
    assert "takes FP64" in exported.notes[0]


@pytest.mark.parametrize(
    ("name", "samples", "message", "hint"),
    [
        ("unfitted", {"x": X[:2]}, "is not fitted", "fit it"),
        ("forest", {"x": X[:2, :3]}, "X has 3 features", ""),
        ("forest", {"a": X[:2, :1], "b": X[:2, 1:]}, "`samples` have a, b", "one matrix"),
        ("forest", {"x": X[:2, :, None]}, "rows of shape [4, 1]", "rows of 4 features"),
        ("forest", {"x": X[:2].astype(np.complex64)}, "take no complex64", ""),
    ],
)
def test_what_cannot_be_exported_is_said_plainly(
    name: str, samples: Any, message: str, hint: str, tmp_path: Path
) -> None:
    """In one line, with a next step."""
    with pytest.raises(ServeError) as refused:
        export_model(make(name), [samples], tmp_path / "m.onnx", what="e.py:m")
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert hint in (refused.value.hint or "")


def test_an_estimator_of_the_users_own_has_no_exporter(tmp_path: Path) -> None:
    """skl2onnx's own words, in one line."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Own(ClassifierMixin, BaseEstimator):
        n_features_in_ = 4
        classes_ = (0, 1)

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return rows[:, 0] > 0

    with pytest.raises(ServeError, match="skl2onnx cannot export the model: MissingShapeCalculator"):
        export_model(Own(), [{"x": X[:2]}], tmp_path / "m.onnx")


def test_an_estimator_is_packaged_from_its_code(tmp_path: Path) -> None:
    """Class names and all, served by a real Triton."""
    (tmp_path / "fitted.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "def model():\n    from test_scikit_learn import make\n    return make('pipeline')\n"
    )
    np.save(tmp_path / "rows.npy", X[:8])
    options = PackageOptions(repository=tmp_path / "models", samples=tmp_path / "rows.npy")
    packaged = package_model(Path(f"{tmp_path / 'fitted.py'}:model"), options)
    assert packaged.manifest.export is not None
    assert packaged.manifest.export.framework == "scikit-learn"
    assert packaged.manifest.batching.verdict == "batchable"
    assert packaged.manifest.outputs[0].data_type.value == "BYTES"
    assert packaged.manifest.verification is not None


def test_an_export_that_differs_is_refused(tmp_path: Path) -> None:
    """Fitted anew, an estimator answers otherwise than its export did."""
    from sklearn.linear_model import LinearRegression

    class Drifting(LinearRegression):
        def predict(self, rows: np.ndarray) -> np.ndarray:
            return np.asarray(super().predict(rows)) + 1

    from skl2onnx import update_registered_converter
    from skl2onnx.operator_converters.linear_regressor import convert_sklearn_linear_regressor
    from skl2onnx.shape_calculators.linear_regressor import calculate_linear_regressor_output_shapes

    update_registered_converter(
        Drifting, "Drifting", calculate_linear_regressor_output_shapes, convert_sklearn_linear_regressor
    )
    with pytest.raises(VerificationError, match="output 'variable' differs"):
        export_model(Drifting().fit(X, X[:, 0]), [{"x": X[:4].astype(np.float32)}], tmp_path / "m.onnx")
