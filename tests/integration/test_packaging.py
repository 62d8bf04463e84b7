"""From a model file to a repository that a real Triton serves correctly."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from batching_models import parse_graph
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build_model, doubling_model, echo_model

from serve_deploy.errors import InvalidModelError, TritonStartError, UsageError, VerificationError
from serve_deploy.manifest import read_manifest
from serve_deploy.model_config import parse_config
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import PackagedModel, package, package_model
from serve_deploy.packaging.verification.verify import Subject, verify_model
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"


def mixing_model() -> onnx.ModelProto:
    """y = x minus its mean over the batch: it looks like a batch, and is none."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return build_model(nodes, [("x", TensorProto.FLOAT, ("N", 3))], [("y", TensorProto.FLOAT, ("N", 3))])


def named_model() -> onnx.ModelProto:
    """A model whose tensors are called as exporters call them."""
    names = ('serving_default/input "1":0', '{"outputs": ["y"]}')
    node = helper.make_node("Add", [names[0], names[0]], [names[1]])
    tensors = [(name, TensorProto.FLOAT, ("N", 2)) for name in names]
    return build_model([node], tensors[:1], tensors[1:])


def constant_model() -> onnx.ModelProto:
    """A model without inputs."""
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.arange(3, dtype=np.int64)))
    return build_model([node], [], [("y", TensorProto.INT64, (3,))])


def random_model() -> onnx.ModelProto:
    """A model that answers differently each time."""
    node = helper.make_node("RandomNormalLike", ["x"], ["y"])
    return build_model([node], [("x", TensorProto.FLOAT, (2, 3))], [("y", TensorProto.FLOAT, (2, 3))])


def save_external(path: Path) -> None:
    """A model with its weights in a file of their own."""
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    tensors = [("x", TensorProto.FLOAT, ("N", 3))], [("y", TensorProto.FLOAT, ("N", 4))]
    model = build_model([node], *tensors, initializers=[weights])
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def misdeclared_model() -> onnx.ModelProto:
    """y is declared [1, n], and is what the second input says."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    inputs = [("x", TensorProto.FLOAT, (6,)), ("shape", TensorProto.INT64, ("k",))]
    return build_model([node], inputs, [("y", TensorProto.FLOAT, (1, "n"))])


MODELS = {
    "rows": lambda: doubling_model(("N", 3)),
    "numbers": lambda: doubling_model(("N",)),
    "scalar": lambda: doubling_model(()),
    "texts": lambda: echo_model(TensorProto.STRING, ("N", 2)),
    "mixing": mixing_model,
    "named": named_model,
    "constant": constant_model,
    "random": random_model,
}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, PackagedModel]:
    sources = tmp_path_factory.mktemp("sources")
    for name, make in MODELS.items():
        onnx.save(make(), sources / f"{name}.onnx")
    save_external(sources / "external.onnx")
    options = PackageOptions(repository=tmp_path_factory.mktemp("out") / "models")
    summary = package([EXAMPLE / "digits.onnx", *sorted(sources.glob("*.onnx"))], options)
    assert [(model.source.name, model.error) for model in summary.failed] == []
    return {model.name: model for model in summary.packaged}


@pytest.mark.parametrize(
    ("name", "batches"),
    [("digits", True), ("rows", True), ("numbers", True), ("texts", True), ("named", True), ("external", True),
     ("scalar", False), ("mixing", False), ("constant", False), ("random", False)],
)  # fmt: skip
def test_batching_is_what_running_the_model_shows(
    packaged: Mapping[str, PackagedModel], name: str, batches: bool
) -> None:
    """Never what the shapes alone suggest."""
    config = parse_config(packaged[name].config)
    assert (config.max_batch_size > 0) is batches
    assert config.HasField("dynamic_batching") is batches
    assert packaged[name].manifest.batching.evidence


@pytest.mark.parametrize("name", ["digits", *MODELS, "external"])
def test_triton_answers_as_onnx_runtime_does(packaged: Mapping[str, PackagedModel], name: str) -> None:
    """The verification says by whom, how often, and how far off."""
    verification = packaged[name].manifest.verification
    assert verification is not None
    assert (verification.runtime, verification.triton_version) == ("embedded", "2.51.0")
    assert verification.requests > 1
    assert verification.load_seconds > 0
    assert verification.memory_bytes > 10_000_000
    compared = {tensor.name for tensor in verification.tensors} | set(verification.random_outputs)
    assert compared == {tensor.name for tensor in packaged[name].manifest.outputs}


@pytest.mark.parametrize("name", ["digits", "rows", "numbers", "texts", "external"])
def test_dynamic_batches_really_formed(packaged: Mapping[str, PackagedModel], name: str) -> None:
    """Triton's own statistics say so."""
    verification = packaged[name].manifest.verification
    assert verification is not None
    assert verification.largest_batch_executed > 1


def test_a_random_model_is_served_but_its_values_are_not_compared(packaged: Mapping[str, PackagedModel]) -> None:
    """And that is said."""
    verification = packaged["random"].manifest.verification
    assert verification is not None
    assert verification.random_outputs == ("y",)


def test_shapes_in_the_manifest_are_the_clients(packaged: Mapping[str, PackagedModel]) -> None:
    """With the batch first, and [1] for what has no dimension of its own."""
    shapes = {name: packaged[name].manifest.inputs[0].shape for name in ("rows", "numbers", "scalar")}
    assert shapes == {"rows": (-1, 3), "numbers": (-1, 1), "scalar": (1,)}


def test_the_manifest_in_the_folder_is_the_one_reported(packaged: Mapping[str, PackagedModel]) -> None:
    """With every file and its hash, the external data among them."""
    model = packaged["external"]
    assert read_manifest(model.folder) == model.manifest
    files = {file.path for file in model.manifest.files}
    assert {"1/model.onnx/model.onnx", "1/model.onnx/weights.bin", "config.pbtxt", "samples.npz"} <= files
    assert {path.relative_to(model.folder).as_posix() for path in model.folder.rglob("*") if path.is_file()} == {
        *files,
        "manifest.json",
    }


def test_labels_of_the_models_metadata_are_written(packaged: Mapping[str, PackagedModel]) -> None:
    """Triton's classification then answers with names."""
    config = parse_config(packaged["digits"].config)
    lines = (packaged["digits"].folder / config.output[0].label_filename).read_text().splitlines()
    assert lines == list(packaged["digits"].manifest.labels["probabilities"])
    assert len(lines) == 10


def test_real_samples_are_used_and_kept(tmp_path: Path) -> None:
    """What the user gives is what is proven with, verified with, warmed up with and kept."""
    options = PackageOptions(repository=tmp_path / "models", samples=EXAMPLE / "samples.npz")
    model = package_model(EXAMPLE / "digits.onnx", options)
    assert model.manifest.samples > 4
    assert model.manifest.verification is not None
    kept = np.load(model.folder / "samples.npz")
    given = np.load(EXAMPLE / "samples.npz")
    np.testing.assert_array_equal(kept["0/image"], given["image"][:1])


def test_what_a_model_returns_decides_over_what_it_declares(tmp_path: Path) -> None:
    """It is served, and the contradiction is said."""
    onnx.save(misdeclared_model(), tmp_path / "m.onnx")
    np.savez(tmp_path / "samples.npz", x=np.arange(6, dtype=np.float32), shape=np.array([2, 1, 3]))
    options = PackageOptions(repository=tmp_path / "models", samples=tmp_path / "samples.npz")
    model = package_model(tmp_path / "m.onnx", options)
    assert model.notes == ("output 'y' is declared [1, -1], but the model returned [2, 1, 3]",)
    assert model.manifest.outputs[0].shape == (-1, -1, -1)
    assert model.manifest.verification is not None


def test_samples_that_the_model_refuses_are_the_users_to_fix(tmp_path: Path) -> None:
    """In ONNX Runtime's words, with the file."""
    onnx.save(misdeclared_model(), tmp_path / "m.onnx")
    np.savez(tmp_path / "samples.npz", x=np.arange(6, dtype=np.float32), shape=np.array([4, 4]))
    options = PackageOptions(repository=tmp_path / "models", samples=tmp_path / "samples.npz")
    with pytest.raises(UsageError, match=r"refuses the first sample of .*samples.npz: "):
        package_model(tmp_path / "m.onnx", options)


def test_a_model_that_answers_something_else_is_not_packaged(tmp_path: Path) -> None:
    """Exit code 8 names the output and how far off it is."""
    source = tmp_path / "m.onnx"
    onnx.save(doubling_model(("N", 3)), source)
    model = package_model(source, PackageOptions(repository=tmp_path / "models", verify=False))
    signature = ModelSignature((TensorSpec("x", DataType.FP32, (-1, 3)),), (TensorSpec("y", DataType.FP32, (-1, 3)),))
    subject = Subject(
        model.folder.parent, "m", signature, 8, [{"x": np.ones((1, 3), np.float32)}], lambda sample: {"y": sample["x"]}
    )
    with pytest.raises(VerificationError, match=r"sent alone .*'y' differs by up to 1 "):
        verify_model(subject, runtime="embedded")


def test_rows_that_triton_batches_are_shuffled_and_more_than_the_samples(tmp_path: Path) -> None:
    """A model whose rows change each other is caught among others, though its two samples look alike alone."""
    source = tmp_path / "m.onnx"
    onnx.save(parse_graph("(float[N,3] x) => (float[N,3] y) { m = ReduceMean<axes=[0]>(x) y = Sub(x, m) }"), source)
    model = package_model(source, PackageOptions(repository=tmp_path / "models", verify=False, max_batch_size=8))
    signature = ModelSignature((TensorSpec("x", DataType.FP32, (-1, 3)),), (TensorSpec("y", DataType.FP32, (-1, 3)),))
    samples = [{"x": np.full((1, 3), value, np.float32)} for value in (1, 2)]
    subject = Subject(model.folder.parent, "m", signature, 8, samples, lambda sample: {"y": np.zeros_like(sample["x"])})
    with pytest.raises(VerificationError, match=r"sent among others .*'y' differs"):
        verify_model(subject, runtime="embedded")


def test_verifies_batches_of_at_least_eight_different_samples(packaged: Mapping[str, PackagedModel]) -> None:
    """Four generated samples are not all that Triton gets to batch; a model without batches needs no more."""
    verified = {name: model.manifest.verification for name, model in packaged.items()}
    assert verified["rows"] is not None
    assert verified["scalar"] is not None
    assert (packaged["rows"].manifest.samples, verified["rows"].distinct_samples) == (4, 8)
    assert verified["scalar"].distinct_samples == packaged["scalar"].manifest.samples


def test_what_triton_refuses_is_said_in_its_words(tmp_path: Path) -> None:
    """With exit code 3: it is the model and its configuration that do not fit."""
    source = tmp_path / "m.onnx"
    onnx.save(doubling_model(("N", 3)), source)
    model = package_model(source, PackageOptions(repository=tmp_path / "models", verify=False))
    config = model.folder / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [3]", "dims: [4]"))
    subject = Subject(model.folder.parent, "m", ModelSignature((), ()), 8, [], lambda _sample: {})
    with pytest.raises(InvalidModelError, match=r"Triton refuses to load m: .*\[-1,4\]"):
        verify_model(subject, runtime="embedded")


def test_without_a_runtime_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    """And that verification can be left out; the repository is as before."""
    options = PackageOptions(repository=tmp_path / "models", runtime="installed")
    with pytest.raises(TritonStartError) as refused:
        package_model(EXAMPLE / "digits.onnx", options)
    assert "-m pip install nvidia-pytriton==" in str(refused.value.hint)
    assert "`verify=False`" in str(refused.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_proves_on_generated_samples_what_a_single_one_cannot_show(tmp_path: Path) -> None:
    """One sample of integers cannot show mixing; generated ones beside it do."""
    table = numpy_helper.from_array(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32), "table")
    model = build_model(
        [helper.make_node("Gather", ["table", "ids"], ["y"])],
        [("ids", TensorProto.INT64, ("N", 2))],
        [("y", TensorProto.FLOAT, ("N", 2, 3))],
        initializers=[table],
    )
    path = tmp_path / "embedding.onnx"
    onnx.save(model, path)
    np.savez(tmp_path / "one.npz", ids=np.array([[3, 3]]))
    options = PackageOptions(repository=tmp_path / "models", samples=tmp_path / "one.npz", dry_run=True)

    batching = package_model(path, options).manifest.batching

    assert (batching.verdict, batching.evidence.startswith("on generated samples")) == ("batchable", True)
