"""Models as scikit-learn, PyTorch and their converters write them, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


def _iris() -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    datasets = pytest.importorskip("sklearn.datasets")
    features, classes = datasets.load_iris(return_X_y=True)
    return features.astype(np.float32), np.array(["setosa", "versicolor", "virginica"])[classes]


def make_zipmap(path: Path) -> None:
    """A logistic regression with string labels: its scores are a sequence of maps."""
    skl2onnx = pytest.importorskip("skl2onnx")
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, classes = _iris()
    model = skl2onnx.to_onnx(linear_model.LogisticRegression(max_iter=200).fit(features, classes), features[:1])
    path.write_bytes(model.SerializeToString())


def make_mixed_columns(path: Path) -> None:
    """A pipeline over columns of numbers and of strings."""
    skl2onnx = pytest.importorskip("skl2onnx")
    pandas = pytest.importorskip("pandas")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "age": numbers.normal(30, 10, 60).astype(np.float32),
            "fare": numbers.gamma(2, 10, 60).astype(np.float32),
            "sex": numbers.choice(["male", "female"], 60),
            "embarked": numbers.choice(list("SCQ"), 60),
        }
    )
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["age", "fare"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["sex", "embarked"])]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, numbers.integers(0, 2, 60))
    types = [(name, FloatTensorType([None, 1])) for name in ("age", "fare")]
    types += [(name, StringTensorType([None, 1])) for name in ("sex", "embarked")]
    model = skl2onnx.convert_sklearn(pipeline, "titanic", types, options={id(pipeline): {"zipmap": False}})
    path.write_bytes(model.SerializeToString())


def make_time_first_lstm(path: Path) -> None:
    """A bidirectional LSTM over [time, 1, features]."""
    torch = pytest.importorskip("torch")

    class Tagger(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(40, 16, bidirectional=True)
            self.head = torch.nn.Linear(32, 5)

        def forward(self, features: object) -> object:
            return self.head(self.lstm(features)[0])

    torch.onnx.export(
        Tagger().eval(), (torch.randn(7, 1, 40),), path, dynamo=False, input_names=["feats"], output_names=["logits"],
        dynamic_axes={"feats": {0: "T"}, "logits": {0: "T"}},
    )  # fmt: skip


def make_external_data(path: Path) -> None:
    """A multilayer perceptron whose weights are in a file beside it."""
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 4))
    batch = {0: torch.export.Dim("batch")}
    torch.onnx.export(
        network.eval(), (torch.randn(2, 256),), path, dynamic_shapes=(batch,), external_data=True, verbose=False
    )


# How each is made, and whether axis 0 is a batch.
MADE: dict[str, tuple[Callable[[Path], None], bool]] = {
    "mixed_columns": (make_mixed_columns, True),
    "time_first_lstm": (make_time_first_lstm, False),
    "external_data": (make_external_data, True),
}
