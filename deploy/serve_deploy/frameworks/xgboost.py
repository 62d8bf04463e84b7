"""XGBoost models in JSON and UBJSON: both hold the same document.

Source: XGBoost, doc/model.schema.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, reading
from serve_deploy.frameworks.fil import Trees, describe_trees
from serve_deploy.frameworks.ubjson import Reader

# JSON is built in memory, where it takes a few times its size.
_MOST_JSON_BYTES = 512 << 20
_CLASSES = {
    "binary:logistic": 2,
    "binary:hinge": 2,
    "binary:logitraw": 0,
    "multi:softprob": None,
    "multi:softmax": None,
}
_SERVED_BOOSTERS = ("gbtree", "dart")


def read_xgboost_json(path: Path, parameters: Mapping[str, str]) -> Artefact:
    """Read a model that `save_model("….json")` wrote; InvalidModelError where it is none."""
    from pydantic_core import from_json

    with reading(path, "an XGBoost model in JSON"):
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise InvalidModelError(
                f"{path} is larger than {_MOST_JSON_BYTES >> 20} MB, which serve does not read as JSON",
                hint="save it as model.ubj: smaller, quicker to load, and served from 24.10 on",
            )
        document = from_json(path.read_bytes())
        trees = _describe(path, document, "xgboost_json")
    return describe_trees(path, trees, parameters)


def read_xgboost_ubj(path: Path, parameters: Mapping[str, str]) -> Artefact:
    """Read a model that `save_model("….ubj")` wrote; InvalidModelError where it is none."""
    with (
        reading(path, "an XGBoost model in UBJSON"),
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        reader = Reader(content)
        document = reader.read()
        if not reader.at_end:
            raise ValueError("more behind the end")
        trees = _describe(path, document, "xgboost_ubj")
    return describe_trees(path, trees, parameters)


def _describe(path: Path, document: Any, model_type: str) -> Trees:
    learner = document["learner"]
    model, objective = learner["learner_model_param"], str(learner["objective"]["name"])
    booster = str(learner["gradient_booster"]["name"])
    if booster not in _SERVED_BOOSTERS:
        raise InvalidModelError(
            f"{path} is boosted by '{booster}', and Triton's FIL backend serves trees only",
            hint="train it with booster='gbtree', or serve it as a Python model",
        )
    if int(model.get("num_target", "1")) > 1:
        raise InvalidModelError(
            f"{path} has {model['num_target']} targets, and Triton's FIL backend serves models of one",
            hint="train a model for each target, or serve it as a Python model",
        )
    classes = _CLASSES.get(objective, 0)
    version = ".".join(map(str, document["version"])) if document.get("version") else None
    return Trees(
        library="XGBoost",
        model_type=model_type,
        file_name="xgboost.json" if model_type == "xgboost_json" else "xgboost.ubj",
        features=int(model["num_feature"]),
        classes=max(int(model["num_class"]), 2) if classes is None else classes,
        objective=objective,
        version=version,
        gives_probabilities=objective not in ("multi:softmax", "binary:hinge"),
        trees=_count_trees(learner["gradient_booster"]),
        notes=_note_features(learner),
    )


def _count_trees(booster: Any) -> int | None:
    model = booster.get("model") or booster["gbtree"]["model"]
    return int(model["gbtree_model_param"]["num_trees"])


def _note_features(learner: Any) -> tuple[str, ...]:
    kinds = learner.get("feature_types") or ()
    categorical = [index for index, kind in enumerate(kinds) if kind == "c"]
    if not categorical:
        return ()
    columns = ", ".join(map(str, categorical[:5])) + (", …" if len(categorical) > 5 else "")
    return (f"columns {columns} are categories: clients send them as the numbers that training gave them",)
