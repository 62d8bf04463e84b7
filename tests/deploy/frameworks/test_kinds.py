"""What is read of real files of each framework, and how each wrong one is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from framework_artefacts import MODELS, PLAN

from serve_deploy.errors import InvalidModelError
from serve_deploy.frameworks.artefact import Artefact, Tensor
from serve_deploy.frameworks.given_signature import complete, parse_signature
from serve_deploy.frameworks.kinds import find_kind, read_artefact
from serve_deploy.tensors.types import DataType


def read(name: str, **parameters: str) -> Artefact:
    return read_artefact(MODELS / name, parameters)


def refuse(path: Path, **parameters: str) -> tuple[str, str]:
    with pytest.raises(InvalidModelError) as refused:
        read_artefact(path, parameters)
    assert "\n" not in refused.value.message
    return refused.value.message.removeprefix(str(path)).strip(), refused.value.hint or ""


def test_a_trace_tells_names_and_types_but_no_shapes() -> None:
    """From forward's code, and from the inputs that the trace kept."""
    artefact = read("traced.pt")
    assert artefact.inputs == (Tensor("features", DataType.FP32), Tensor("mask", DataType.FP32))
    assert artefact.outputs == (Tensor("OUTPUT__0"), Tensor("OUTPUT__1"))
    assert artefact.suggestion.startswith("features FP32 [-1, 4], mask FP32 [-1, 3] -> OUTPUT__0 ")


def test_a_script_tells_names_alone() -> None:
    """Nothing was run to make it."""
    artefact = read("scripted.pt")
    assert artefact.inputs == (Tensor("features"), Tensor("mask"))
    assert {fact.name: fact.value for fact in artefact.facts}["returns"] == "Tuple[Tensor, Tensor]"


def test_a_dictionary_of_tensors_tells_no_names() -> None:
    """Its keys are the names, and stand nowhere."""
    artefact = read("takes_dictionary.pt")
    assert (artefact.inputs, artefact.outputs) == (None, None)


def test_lists_of_strings_are_inputs_and_outputs_too() -> None:
    """LibTorch's backend takes strings so."""
    artefact = read("takes_strings.pt")
    assert artefact.inputs == (Tensor("words", DataType.BYTES), Tensor("features"))
    assert artefact.suggestion.startswith("words BYTES [-1], features FP32 [-1, 4] -> OUTPUT__0")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"binf\0\0\0?", "is XGBoost's old binary format"), (b"CBM1\x10\0", "is a CatBoost model")],
)
def test_other_models_of_trees_are_known_by_name(content: bytes, said: str, tmp_path: Path) -> None:
    """With what to save in their place."""
    path = tmp_path / "trees.model"
    path.write_bytes(content)
    assert refuse(path)[0].startswith(said)


def test_a_compiled_archive_tells_what_it_was_compiled_for() -> None:
    """Its tensors are in machine code."""
    artefact = read("compiled.pt2")
    assert (artefact.platform, artefact.device, artefact.inputs, list(artefact.files)) == (
        "torch_aoti", "cpu", None, ["model.pt2"],
    )  # fmt: skip


def test_an_exported_program_tells_the_signature_that_its_compiled_form_hides() -> None:
    """So that it can be given when that is packaged."""
    _message, hint = refuse(MODELS / "exported.pt2")
    signature = hint.split("`signature='")[1].split("'`")[0]
    assert signature == (
        "INPUT__0 FP32 [-1, 4], INPUT__1 FP32 [-1, 3] -> OUTPUT__0 FP32 [-1, 3], OUTPUT__1 INT64 [-1]"
    )  # fmt: skip
    complete(read("compiled.pt2"), parse_signature(signature))


def test_a_saved_model_tells_everything() -> None:
    """The signature's names, types and shapes, without TensorFlow."""
    artefact = read("scorer.savedmodel")
    assert artefact.inputs == (Tensor("features", DataType.FP32, (-1, 4)),)
    assert artefact.outputs == (Tensor("label", DataType.INT64, (-1,)), Tensor("scores", DataType.FP32, (-1, 3)))
    assert artefact.version == "2.21.0"
    assert "model.savedmodel/variables/variables.index" in artefact.files


def test_another_signature_of_a_saved_model_can_be_served() -> None:
    """By the parameter that Triton's backend reads."""
    artefact = read("scorer.savedmodel", TF_SIGNATURE_DEF="count")
    assert (artefact.inputs, artefact.parameters) == (
        (Tensor("text", DataType.BYTES, (-1,)),), {"TF_SIGNATURE_DEF": "count"},
    )  # fmt: skip


def test_an_openvino_model_tells_everything() -> None:
    """The tensors' names, not those of the layers."""
    artefact = read("openvino.xml")
    assert artefact.inputs == (Tensor("features", DataType.FP32, (-1, 4)),)
    assert artefact.outputs == (Tensor("probabilities", DataType.FP32, (-1, 3)),)
    assert (artefact.version, sorted(artefact.files)) == ("2026.4.1", ["model.bin", "model.xml"])


@pytest.mark.parametrize(
    ("name", "file", "model_type"),
    [
        ("xgboost_{}.json", "xgboost.json", "xgboost_json"),
        ("xgboost_{}.ubj", "xgboost.ubj", "xgboost_ubj"),
        ("lightgbm_{}.txt", "model.txt", "lightgbm"),
        ("treelite_{}.tl", "checkpoint.tl", "treelite_checkpoint"),
    ],
)
@pytest.mark.parametrize(("task", "width"), [("binary", 2), ("multiclass", 3), ("regression", 1)])
def test_trees_tell_features_classes_and_objective(
    name: str, file: str, model_type: str, task: str, width: int
) -> None:
    """Whichever library wrote them."""
    artefact = read(name.format(task))
    parameters = artefact.parameters
    assert artefact.inputs == (Tensor("input__0", DataType.FP32, (-1, 5)),)
    assert artefact.outputs == (Tensor("output__0", DataType.FP32, (-1, width)),)
    assert (list(artefact.files), parameters["model_type"]) == ([file], model_type)
    assert parameters["is_classifier"] == str(task != "regression").lower()
    assert ("threshold" in parameters) == (task != "regression")


def test_a_classifier_can_return_the_class_alone() -> None:
    """Then one number is returned."""
    artefact = read("xgboost_multiclass.json", predict_proba="false")
    assert artefact.outputs == (Tensor("output__0", DataType.FP32, (-1, 1)),)


@pytest.mark.parametrize(("task", "width"), [("binary", 1), ("multiclass", 3)])
def test_a_classifier_can_be_served_for_its_raw_prediction(task: str, width: int) -> None:
    """As a regressor, which has no classes to name."""
    artefact = read(f"xgboost_{task}.json", is_classifier="false")
    assert artefact.outputs == (Tensor("output__0", DataType.FP32, (-1, width)),)
    assert "threshold" not in artefact.parameters


def test_json_and_ubjson_say_the_same() -> None:
    """They hold one document in two writings."""
    one, other = read("xgboost_multiclass.json"), read("xgboost_multiclass.ubj")
    assert (one.version, one.facts) == (other.version, other.facts)
    assert one.version == "3.2.0"


def test_a_forest_of_scikit_learn_comes_as_a_treelite_checkpoint() -> None:
    """With a vector of classes in each leaf."""
    assert read("treelite_forest.tl").outputs == (Tensor("output__0", DataType.FP32, (-1, 3)),)


def test_a_plan_tells_its_tensorrt_version(tmp_path: Path) -> None:
    """And nothing else."""
    path = tmp_path / "model.plan"
    path.write_bytes(PLAN)
    artefact = read_artefact(path, {})
    assert (artefact.version, artefact.device, artefact.inputs) == ("10.13.3.9", "gpu", None)


@pytest.mark.parametrize(
    ("name", "said", "advised"),
    [
        ("state_dict.pt", "holds weights or a pickled module, not a program", "torch.jit.trace"),
        ("module.pt", "holds weights or a pickled module, not a program", "load.py:model"),
        ("old_state_dict.pt", "is a Python pickle: a pickle runs whatever code is in it", "torch.jit.trace"),
        ("exported.pt2", "is an exported program that is not compiled", "aoti_compile_and_package"),
        ("forest.pkl", "is a pickle of sklearn.ensemble._forest.RandomForestClassifier", "load.py:model"),
        ("forest.joblib", "is a pickle of sklearn.ensemble._forest.RandomForestClassifier", "treelite"),
        ("xgboost_linear.json", "is boosted by 'gblinear'", "gbtree"),
        ("without_forward.pt", "has no method forward of its own", "with a forward of tensors"),
        ("returns_nested.pt", ": forward returns Tuple[Tensor, Tuple[Tensor, Tensor]]", "side by side"),
        ("takes_int.pt", ": forward's argument 'steps' is int", "takes tensors only"),
    ],
)
def test_what_triton_cannot_serve_is_refused_by_name(name: str, said: str, advised: str) -> None:
    """With what to do in its place."""
    message, hint = refuse(MODELS / name)
    assert message.startswith(said)
    assert advised in hint


@pytest.mark.parametrize(
    ("source", "called", "said"),
    [
        ("xgboost_binary.json", "model.txt", "is called .txt as a LightGBM model is, but it is XGBoost's JSON"),
        ("traced.pt", "model.onnx", "is called .onnx as ONNX is, but it is a PyTorch archive"),
        ("openvino.xml", "model.pt", "is called .pt as a PyTorch archive is, but it is an OpenVINO model"),
        ("openvino.bin", "model.plan", "is not a TensorRT plan, as its suffix says: it does not begin as one"),
        ("openvino.bin", "model.json", "is not XGBoost's JSON, as its suffix says: it does not begin as one"),
    ],
)
def test_a_wrong_suffix_is_refused(source: str, called: str, said: str, tmp_path: Path) -> None:
    """The content decides what a file is, and the name must not say otherwise."""
    path = tmp_path / called
    shutil.copy(MODELS / source, path)
    assert refuse(path)[0] == said


@pytest.mark.parametrize("source", ["xgboost_binary.ubj", "treelite_binary.tl", "traced.pt", "lightgbm_binary.txt"])
def test_a_file_without_a_telling_suffix_is_told_by_its_content(source: str, tmp_path: Path) -> None:
    """Models are called .model and .bin as well."""
    path = tmp_path / "forest.model"
    shutil.copy(MODELS / source, path)
    assert read_artefact(path, {}).backend == read(source).backend


@pytest.mark.parametrize(
    "content", [b"\x08\x07\x12\x07pytorch", b"", b"x", b"{}", b"tree", b"{\x00"], ids=lambda content: repr(content[:8])
)
def test_what_is_of_no_framework_is_left_to_the_reader_of_onnx(content: bytes, tmp_path: Path) -> None:
    """Which says what it is, or that it is corrupt."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert find_kind(path) is None


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    """Whatever it is called."""
    path = tmp_path / "model.pt"
    path.touch()
    assert refuse(path)[0] == "is empty"


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    """A few of them, nested, take all memory."""
    path = tmp_path / "bomb.xml"
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    path.write_text(f'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY e0 "x">{entities}]><net version="11">&e11;</net>')
    assert refuse(path)[0] == "declares XML entities, which no OpenVINO model does"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('names="features"', "", ": input 'features' has no tensor name"),
        ('shape="?,4"', 'shape="1..8,4"', ": input 'features' has a range of sizes (1..8)"),
        ('shape="?,4"', 'shape=""', ": input 'features' is a scalar"),
        ('element_type="f32"', 'element_type="u4"', ": input 'features' is u4"),
        ("<net ", "<svg ", "is XML, but no OpenVINO model: it has no net"),
        ('size="24"', 'size="2400"', ""),
    ],
)
def test_what_openvinos_backend_does_not_serve_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    """By the tensor, where it is one."""
    text = (
        (MODELS / "openvino.xml")
        .read_text(encoding="utf-8")
        .replace(old, new)
        .replace("</net>", f"</{'svg' if 'svg' in new else 'net'}>")
    )
    path = tmp_path / "model.xml"
    path.write_text(text, encoding="utf-8")
    shutil.copy(MODELS / "openvino.bin", tmp_path / "model.bin")
    message, _hint = refuse(path)
    assert (
        message.startswith(said) if said else re.search(r"model.bin has 24 bytes, and model.xml needs 2,400", message)
    )


def test_what_a_file_calls_itself_moves_no_cursor(tmp_path: Path) -> None:
    """Names go into messages of one line, and into a terminal."""
    pickled = tmp_path / "model.pkl"
    pickled.write_bytes((MODELS / "forest.pkl").read_bytes().replace(b"RandomForest", b"\x1b[2J\nForest"))
    assert refuse(pickled)[0].isprintable()
    trees = tmp_path / "model.json"
    text = (MODELS / "xgboost_binary.json").read_text(encoding="utf-8")
    trees.write_text(text.replace("binary:logistic", "reg:\\u001b[2J"), encoding="utf-8")
    assert all(str(fact.value).isprintable() for fact in read_artefact(trees, {}).facts)
    graph = (MODELS / "openvino.xml").read_text(encoding="utf-8").replace('"features"', '"fea&#10;tures"')
    (tmp_path / "model.xml").write_text(graph, encoding="utf-8")
    shutil.copy(MODELS / "openvino.bin", tmp_path / "model.bin")
    assert "has characters that cannot be printed" in refuse(tmp_path / "model.xml")[0]


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """The XML alone is half a model."""
    shutil.copy(MODELS / "openvino.xml", tmp_path / "model.xml")
    assert refuse(tmp_path / "model.xml")[0].endswith("model.bin is missing: it holds the weights of model.xml")


def test_a_saved_model_with_missing_variables_is_refused(tmp_path: Path) -> None:
    """As after a copy of saved_model.pb alone, or of half the folder."""
    folder = tmp_path / "scorer"
    shutil.copytree(MODELS / "scorer.savedmodel", folder)
    next((folder / "variables").glob("variables.data*")).unlink()
    assert refuse(folder)[0] == "/variables has an index without its data"


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    """Reading tells what it would call, and calls nothing."""
    proof = tmp_path / "ran"
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x02cos\nsystem\nX%c\x00\x00\x00touch %s\x85R." % (len(f"touch {proof}"), bytes(proof)))
    assert refuse(path)[0].startswith("is a pickle of os.system")
    assert not proof.exists()
