"""Make the small models of other frameworks that the tests read: tests/support/framework_models.

Each part needs its frameworks, and none of them is among ours, so that the parts run in environments of their own:

    python scripts/make_framework_models.py torch          # torch 2.13
    python scripts/make_framework_models.py trees          # xgboost 3.2, lightgbm 4.7, treelite 4.8, scikit-learn 1.9
    python scripts/make_framework_models.py openvino       # openvino 2026.4
    python scripts/make_framework_models.py tensorflow     # tensorflow 2.21

The versions are those of the files in the repository.
"""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "support" / "framework_models"
# What the documents show.
EXAMPLES = {"xgboost_multiclass.ubj": "forest.ubj", "traced.pt": "scorer.pt"}
_TORCH_MODEL = """
import torch

class Scorer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, features: torch.Tensor, mask: torch.Tensor):
        scores = self.linear(features) * mask
        return scores, scores.argmax(-1)

class Chooser(torch.nn.Module):
    def forward(self, features: torch.Tensor, steps: int):
        return features * steps

class Joiner(torch.nn.Module):
    def forward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"sum": tensors["a"] + tensors["b"]}

class Echo(torch.nn.Module):
    def forward(self, words: list[str], features: torch.Tensor) -> tuple[list[str], torch.Tensor]:
        return words, features
"""


def make_torch() -> None:
    import torch

    torch.manual_seed(0)
    # Compiled under a name of its own, so that no path of this machine gets into the files.
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(_TORCH_MODEL, "scorer.py", "exec"), names)
    source = FOLDER / "scorer.py"
    source.write_text(_TORCH_MODEL, encoding="utf-8")
    sys.path.insert(0, str(FOLDER))
    from scorer import Chooser, Echo, Joiner, Scorer  # type: ignore[import-not-found]

    model, example = Scorer().eval(), (torch.zeros(2, 4), torch.ones(2, 3))
    torch.jit.trace(model, example).save(FOLDER / "traced.pt")
    torch.jit.script(model).save(FOLDER / "scripted.pt")
    torch.jit.script(Chooser()).save(FOLDER / "takes_int.pt")
    torch.jit.script(Joiner()).save(FOLDER / "takes_dictionary.pt")
    torch.jit.script(Echo()).save(FOLDER / "takes_strings.pt")
    recurrent = torch.nn.GRU(2, 1)
    torch.jit.script(recurrent).save(FOLDER / "without_forward.pt")
    torch.jit.trace(torch.nn.LSTM(2, 1), torch.zeros(3, 1, 2)).save(FOLDER / "returns_nested.pt")
    torch.save(model.state_dict(), FOLDER / "state_dict.pt")
    torch.save(model.state_dict(), FOLDER / "old_state_dict.pt", _use_new_zipfile_serialization=False)
    torch.save(model, FOLDER / "module.pt")
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, example, dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(program, FOLDER / "exported.pt2")
    torch._inductor.aoti_compile_and_package(program, package_path=str(FOLDER / "compiled.pt2"))
    source.unlink()
    for path in FOLDER.glob("*.pt*"):
        if path.name != "old_state_dict.pt":
            _rewrite(path)
    torch.jit.load(FOLDER / "traced.pt")
    torch.jit.load(FOLDER / "scripted.pt")


def _rewrite(path: Path) -> None:
    """Leave out what names files of this machine, and of compiled code all but its first bytes: it is large."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, content in members:
            if info.filename.endswith((".debug_pkl", ".cpp")):
                continue
            kept = content[:64] if info.filename.endswith(".so") else content
            if info.filename.endswith("models/model.json"):
                kept = json.dumps(_without_traces(json.loads(content))).encode()
            archive.writestr(zipfile.ZipInfo(info.filename), kept)


def _without_traces(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _without_traces(value) for key, value in document.items() if key != "stack_trace"}
    return [_without_traces(item) for item in document] if isinstance(document, list) else document


def make_trees() -> None:
    import joblib
    import lightgbm
    import numpy as np
    import treelite
    import xgboost
    from sklearn.ensemble import RandomForestClassifier

    numbers = np.random.default_rng(0)
    features = numbers.normal(size=(200, 5)).astype(np.float32)
    halves, thirds = (features[:, 0] > 0).astype(int), (features[:, :2] > 0).sum(axis=1)
    targets = {"binary": halves, "multiclass": thirds, "regression": features[:, 0] * 2}
    objectives = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}
    for name, target in targets.items():
        classes = {"num_class": 3} if name == "multiclass" else {}
        booster = xgboost.train(
            {"objective": objectives[name], "max_depth": 2, **classes}, xgboost.DMatrix(features, label=target), 3
        )
        booster.save_model(FOLDER / f"xgboost_{name}.json")
        booster.save_model(FOLDER / f"xgboost_{name}.ubj")
        treelite.frontend.from_xgboost(booster).serialize(FOLDER / f"treelite_{name}.tl")
        settings = {"objective": name, "num_leaves": 4, "verbose": -1, **classes}
        lightgbm.train(settings, lightgbm.Dataset(features, label=target), 3).save_model(
            FOLDER / f"lightgbm_{name}.txt"
        )
    linear = xgboost.train({"booster": "gblinear"}, xgboost.DMatrix(features, label=targets["regression"]), 2)
    linear.save_model(FOLDER / "xgboost_linear.json")
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(features, thirds)
    treelite.sklearn.import_model(forest).serialize(FOLDER / "treelite_forest.tl")
    (FOLDER / "forest.pkl").write_bytes(pickle.dumps(forest))
    joblib.dump(forest, FOLDER / "forest.joblib", compress=3)


def make_openvino() -> None:
    import numpy as np
    import openvino
    from openvino import opset13

    features = opset13.parameter([-1, 4], np.float32, name="features")
    features.output(0).set_names({"features"})
    weights = opset13.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    scores = opset13.matmul(features, weights, False, False)
    shares = opset13.softmax(scores, 1)
    shares.output(0).set_names({"probabilities"})
    openvino.save_model(openvino.Model([opset13.result(shares)], [features], "tiny"), FOLDER / "openvino.xml")


def make_tensorflow() -> None:
    import tensorflow as tf

    class Scorer(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(tf.random.stateless_normal([4, 3], seed=[0, 0]))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="features")])
        def score(self, features: Any) -> Any:
            scores = tf.matmul(features, self.weights)
            return {"scores": scores, "label": tf.argmax(scores, -1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def count(self, text: Any) -> Any:
            return {"count": tf.strings.length(text)}

    scorer = Scorer()
    signatures = {"serving_default": scorer.score, "count": scorer.count}
    tf.saved_model.save(scorer, str(FOLDER / "scorer.savedmodel"), signatures=signatures)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    {"torch": make_torch, "trees": make_trees, "openvino": make_openvino, "tensorflow": make_tensorflow}[sys.argv[1]]()
    for name, example in EXAMPLES.items():
        shutil.copy(FOLDER / name, ROOT / "examples" / "frameworks" / example)
