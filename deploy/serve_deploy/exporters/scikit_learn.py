"""Export a fitted scikit-learn estimator by skl2onnx, with plain tensors and a free batch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.exporters.examples import Arrays, Examples, describe
from serve_deploy.exporters.python_object import first_line, running

Array = np.ndarray[Any, Any]
# What skl2onnx calls an output, and the methods that may compute it, the first that there is.
_METHODS = {
    "label": ("predict",),
    "probabilities": ("predict_proba",),
    "variable": ("predict", "transform"),
    "scores": ("transform", "decision_function"),
}
# What every release that this project knows reads.
_OPSETS = {"": 17, "ai.onnx.ml": 3}
_RENAMED = {"output_label": "label", "output_probability": "probabilities"}


class ScikitLearnModel:
    """A fitted estimator; its input is one matrix, of any name, or one column for each of its feature names."""

    framework = "scikit-learn"
    next_step = "a tree may decide otherwise in FP32 where a value is at its threshold: fit it on X.astype('float32')"

    def __init__(self, estimator: Any, what: str) -> None:
        self.estimator, self.what = estimator, what
        self._outputs: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[str, str]:
        """Of the framework, and of the exporter with its name."""
        import skl2onnx
        import sklearn

        return sklearn.__version__, f"skl2onnx {skl2onnx.__version__}"

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names that it was fitted with, where it has some; else one matrix X."""
        columns = getattr(self.estimator, "feature_names_in_", None)
        return ("X",) if columns is None else tuple(map(str, columns))

    @property
    def required_names(self) -> tuple[str, ...]:
        """One matrix will do: it has all columns in their order."""
        return ("X",)

    def prepare(self, examples: Examples) -> tuple[Examples, ...]:
        """The examples in FP32, and then, if they are FP64, as they are: a tree may decide otherwise in FP32."""
        if not hasattr(self.estimator, "n_features_in_"):
            raise InvalidModelError(f"{self.what} is not fitted", hint="fit it in the code that makes it")
        if len(examples.names) > 1 and set(examples.names) != set(self.input_names):
            raise UsageError(
                f"`samples` have {', '.join(examples.names)}",
                hint=f"give one matrix, or the columns {', '.join(self.input_names)}",
            )
        if not examples.is_batched:
            raise UsageError("`samples`: a scikit-learn estimator takes a matrix", hint="give rows of features")
        deep = next((array for array in examples.samples[0].values() if array.ndim > 2), None)
        if deep is not None:
            raise UsageError(
                f"`samples` have rows of shape {list(deep.shape[1:])}, and a scikit-learn estimator takes a matrix",
                hint=f"give rows of {self.estimator.n_features_in_} features",
            )
        return (examples.in_single_precision(), examples) if examples.are_double else (examples,)

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """What its methods return, by the names of the export's outputs."""
        table = self._table(arrays)
        answers = {}
        for name in self._outputs:
            methods = [each for each in _METHODS.get(_RENAMED.get(name, name), ()) if hasattr(self.estimator, each)]
            if not methods:
                continue
            with running(f"{self.what} fails on {describe(arrays)}"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answers[name] = np.asarray(getattr(self.estimator, methods[0])(table))
        return answers

    def export(self, examples: Examples, file: Path) -> None:
        """Write the ONNX file; InvalidModelError with the last line of the exporter's error."""
        try:
            with running(f"{self.what} cannot be exported"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                proto = self._convert(examples)
        except InvalidModelError as error:
            cause = error.__cause__
            if cause is None or isinstance(cause, ModuleNotFoundError):
                raise
            raise InvalidModelError(
                f"skl2onnx cannot export {self.what}: {first_line(cause)}",
                hint="it converts scikit-learn's own; XGBoost and LightGBM save files that serve package takes",
            ) from cause
        self._outputs = tuple(value.name for value in proto.graph.output)
        file.write_bytes(proto.SerializeToString())

    def _convert(self, examples: Examples) -> Any:
        from skl2onnx import convert_sklearn
        from sklearn.base import is_classifier

        # ZipMap makes a sequence of maps of the probabilities, which Triton cannot serve.
        options = {"zipmap": False} if is_classifier(self.estimator) else None
        types = [(name, _column_type(array)) for name, array in examples.samples[0].items()]
        return convert_sklearn(self.estimator, initial_types=types, options=options, target_opset=_OPSETS)

    def _table(self, arrays: Arrays) -> Any:
        if len(arrays) == 1:
            (matrix,) = arrays.values()
            return _double(matrix)
        import pandas as pd

        return pd.DataFrame({name: _double(arrays[name]).reshape(-1) for name in self.input_names})


def _double(array: Array) -> Array:
    """The estimator's own precision: some take no other than they were fitted with."""
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _column_type(array: Array) -> Any:
    """skl2onnx's type of an input, its batch free: [1, n] in the sample would be kept."""
    from skl2onnx.common import data_types

    kinds = {"float32": "Float", "float64": "Double", "int64": "Int64", "int32": "Int32", "bool": "Boolean"}
    kind = "String" if array.dtype.kind in "OUS" else kinds.get(array.dtype.name)
    if kind is None:
        raise UsageError(f"`samples`: scikit-learn models take no {array.dtype}")
    return getattr(data_types, f"{kind}TensorType")([None, *(array.shape[1:] or (1,))])
