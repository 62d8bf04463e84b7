"""The operators of ai.onnx.ml and of text: one sample a row."""

from __future__ import annotations

from dataclasses import replace

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.rules.along_axes import forbid
from serve_deploy.batch_axis.rules.table import Rule
from serve_deploy.batch_axis.sizes import UNKNOWN, product
from serve_deploy.batch_axis.values import MixesError, NotUnderstoodError, Rows, Value, fixed, row_stride


def _needs_two_axes(value: Value, what: str) -> None:
    if value.rows is None:
        return
    if value.rank == 1:
        raise MixesError(f"{what}: a tensor of one axis is one sample to it")
    if value.rows.axis != 0:
        raise MixesError(f"{what}: the rows are not on its first axis")


def predict(call: Call) -> list[Value]:
    """Trees, linear models and support vectors: one label and one list of scores for each row."""
    value = call[0]
    _needs_two_axes(value, "takes the rows for features")
    if value.rows is None:
        return [fixed()] * call.output_count
    labels = call.attributes.get("classlabels_int64s") or call.attributes.get("classlabels_strings") or ()
    targets = call.attribute("n_targets") or call.attribute("targets")
    scores = Value((value.known_shape[0], len(labels) or targets or UNKNOWN), value.rows)
    if not call.operator.endswith("Classifier"):
        return [scores]
    return [Value((value.known_shape[0],), value.rows), scores]


def per_feature(call: Call) -> Value:
    """Scaler and Imputer: a number for each entry of the last axis."""
    _needs_two_axes(call[0], "has a number for each row")
    return Value(call[0].shape, call[0].rows)


def normalise(call: Call) -> Value:
    """Normalizer: over the features of a sample."""
    _needs_two_axes(call[0], "normalises over the batch axis")
    return Value(call[0].shape, call[0].rows)


def one_hot(call: Call) -> Value:
    """OneHotEncoder: a new last axis."""
    value = call[0]
    width = len(call.attributes.get("cats_int64s") or call.attributes.get("cats_strings") or ())
    return Value((*value.known_shape, width), value.rows)


def join_features(call: Call) -> Value:
    """FeatureVectorizer: columns beside each other."""
    value = call[0]
    for each in call.present:
        _needs_two_axes(each, "puts the rows beside each other")
        if (each.rows is None) != (value.rows is None):
            raise NotUnderstoodError("puts rows beside something that has none")
    return Value((value.known_shape[0], UNKNOWN), value.rows)


def extract_features(call: Call) -> Value:
    """ArrayFeatureExtractor: columns of the last axis, by indices that are taken as one list."""
    value, places = call[0], call[1]
    forbid(value, [value.rank - 1], "picks along")
    shape = value.known_shape if value.rank > 1 else (1, *value.known_shape)
    picked = (*shape[:-1], product(places.known_shape))
    if places.rows is None:
        return Value(picked, value.rows)
    if value.rows is not None:
        raise MixesError("picks for the whole batch what its rows say")
    return Value(picked, Rows(len(shape) - 1, row_stride(places)))


def zip_map(call: Call) -> Value:
    """ZipMap: a list of one map for each row."""
    value = call[0]
    _needs_two_axes(value, "takes the rows for classes")
    return Value(value.known_shape[:1], value.rows)


def count_words(call: Call) -> Value:
    """TfIdfVectorizer: words of the last axis are counted."""
    value = call[0]
    forbid(value, [value.rank - 1], "counts words along")
    return Value((*value.known_shape[:-1], UNKNOWN), value.rows)


def split_text(call: Call) -> list[Value]:
    """StringSplit: as many parts for each text as the one with the most has."""
    if call[0].rows is not None:
        raise MixesError("pads every row to as many parts as the row with the most has")
    return [fixed(), fixed(call[0].shape)]


def pad_tokens(call: Call) -> Value:
    """ONNX Runtime's Tokenizer: as many tokens for each text as the longest has."""
    return replace(split_text(call)[0])


def change_case(call: Call) -> Value:
    """StringNormalizer: with stop words it drops elements, without them it keeps each."""
    value = call[0]
    if value.rows is not None and call.attribute("stopwords"):
        raise MixesError("drops stop words, so that later rows move up")
    if value.rows is not None and value.rank != 1:
        raise MixesError("is made for a batch of 1: it takes one list of texts")
    return Value(value.shape, value.rows)


_MODELS = """
    LinearClassifier LinearRegressor SVMClassifier SVMRegressor TreeEnsemble TreeEnsembleClassifier
    TreeEnsembleRegressor
"""
RULES: dict[str, Rule] = {
    **{f"ai.onnx.ml.{name}": predict for name in _MODELS.split()},
    "StringNormalizer": change_case,
    "StringSplit": split_text,
    "TfIdfVectorizer": count_words,
    "ai.onnx.ml.ArrayFeatureExtractor": extract_features,
    "ai.onnx.ml.FeatureVectorizer": join_features,
    "ai.onnx.ml.Imputer": per_feature,
    "ai.onnx.ml.Normalizer": normalise,
    "ai.onnx.ml.OneHotEncoder": one_hot,
    "ai.onnx.ml.Scaler": per_feature,
    "ai.onnx.ml.ZipMap": zip_map,
    "com.microsoft.Tokenizer": pad_tokens,
}
