"""PyTorch modules become ONNX files that answer as they do."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from serve_deploy.errors import InvalidModelError, ServeError, UsageError
from serve_deploy.exporters.export import export_model
from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.options import PackageOptions, StatefulOptions
from serve_deploy.packaging.package import package_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torch", reason="the extra torch is not installed")
    pytest.importorskip("onnxscript", reason="the extra torch is not installed")
# Libraries that are on their way from one Python to the next.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]

NUMBERS = np.random.default_rng(0)
MATRIX = {"x": NUMBERS.normal(size=(4, 4))}


@pytest.fixture(scope="module")
def nets() -> ModuleType:
    import torch_nets

    return torch_nets


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    signature = open_model(file).signature
    return {tensor.name: tensor.shape for tensor in (*signature.inputs, *signature.outputs)}


def test_the_batch_is_free_and_outputs_keep_their_names(nets: ModuleType, tmp_path: Path) -> None:
    """FP64 samples make an FP32 model, since that is what the module computes in; dropout is off."""
    file = tmp_path / "m.onnx"
    exported = export_model(nets.Images().train(), [{"image": NUMBERS.normal(size=(2, 1, 8, 8))}], file)
    assert exported.agreement.batch_sizes == (1, 2, 3, 5, 8)
    assert shapes(file) == {"image": (-1, 1, 8, 8), "logits": (-1, 10), "first": (-1,)}
    assert open_model(file).signature.inputs[0].data_type.value == "FP32"


def test_sizes_that_differ_between_samples_stay_free(nets: ModuleType, tmp_path: Path) -> None:
    """Sequences of five and of seven ids."""
    samples = [
        {"input_ids": NUMBERS.integers(0, 50, (rows, length)), "attention_mask": np.ones((rows, length), np.float32)}
        for rows, length in ((2, 5), (1, 7))
    ]
    export_model(nets.Texts(), samples, tmp_path / "m.onnx")
    assert shapes(tmp_path / "m.onnx") == {
        "input_ids": (-1, -1), "attention_mask": (-1, -1), "output_0": (-1, -1, 6), "output_1": (-1, 6),
    }  # fmt: skip


def test_an_input_with_a_default_may_be_left_out(nets: ModuleType, tmp_path: Path) -> None:
    """The export does not have it then."""
    export_model(nets.Texts(), [{"input_ids": NUMBERS.integers(0, 50, (2, 5))}], tmp_path / "m.onnx")
    assert "attention_mask" not in shapes(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("net", "samples", "message", "hint"),
    [
        ("Branching", MATRIX, "PyTorch cannot export the model", "torch.where"),
        ("FourRows", {"x": np.ones((4, 3))}, "fails on x float32 [2, 3]", "torch_nets.py, line"),
        ("Nested", MATRIX, "output 'output_1' is a list", "a tuple of tensors"),
        ("Images", {"picture": np.ones((2, 1, 8, 8))}, "no array for 'image'", "takes image"),
        ("Halves", {"x": np.array([["a"]])}, "takes numbers", ""),
    ],
)
def test_what_cannot_be_exported_is_said_plainly(
    nets: ModuleType, net: str, samples: Any, message: str, hint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In one line, with a next step, and without the graphs that PyTorch prints."""
    with pytest.raises(ServeError) as refused:
        export_model(getattr(nets, net)(), [samples], tmp_path / "m.onnx")
    assert message in refused.value.message
    assert "\n" not in refused.value.message
    assert hint in (refused.value.hint or "")
    assert "def forward" not in "".join(capfd.readouterr())


def test_a_module_that_remembers_is_random(nets: ModuleType, tmp_path: Path) -> None:
    """It answers otherwise the second time: nothing can be compared with it, and that is said."""
    exported = export_model(nets.Remembering(), [MATRIX], tmp_path / "m.onnx")
    assert exported.agreement.random_outputs == ("output",)


def source(name: str) -> Path:
    return Path(f"{Path(__file__).parents[2] / 'support' / 'torch_nets.py'}:{name}")


def save(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "samples.npz", **arrays)
    return folder / "samples.npz"


@pytest.mark.parametrize("name", ["images", "make_images", "Images"])
def test_a_module_is_packaged_from_its_code(name: str, tmp_path: Path) -> None:
    """An instance, a function that makes it, or its class; served by a real Triton, and the manifest says whence."""
    samples = save(tmp_path, image=NUMBERS.normal(size=(8, 1, 8, 8)))
    options = PackageOptions(repository=tmp_path / "models", samples=samples, verify=name == "images")
    packaged = package_model(source(name), options)
    assert (packaged.name, packaged.manifest.batching.verdict) == ("torch_nets", "batchable")
    assert packaged.manifest.export is not None
    assert packaged.manifest.export.source == packaged.manifest.source_name == str(source(name))
    assert packaged.manifest.export.framework == "PyTorch"


def test_a_first_dimension_that_is_no_batch_is_not_batched(tmp_path: Path) -> None:
    """reshape(2, -1) exports without a word, and answers as the module at every size."""
    options = PackageOptions(repository=tmp_path / "models", samples=save(tmp_path, **MATRIX), verify=False)
    packaged = package_model(source("Halves"), options)
    assert packaged.manifest.batching.verdict == "not_batchable"
    assert packaged.manifest.outputs[0].shape == (2, -1)


def test_a_recurrent_module_is_packaged_with_its_state(tmp_path: Path) -> None:
    """The samples have the state, since the export needs it; Triton keeps it afterwards."""
    samples = save(tmp_path, features=NUMBERS.normal(size=(4, 3, 8)), h0=NUMBERS.normal(size=(4, 1, 16)))
    stateful = StatefulOptions(stateful=True)
    options = PackageOptions(repository=tmp_path / "models", samples=samples, sequences=stateful, verify=False)
    packaged = package_model(source("Tagging"), options)
    assert [tensor.name for tensor in packaged.manifest.inputs] == ["features"]
    assert packaged.manifest.state is not None
    assert packaged.manifest.export is not None


def test_samples_are_asked_for(tmp_path: Path) -> None:
    """With the names of the inputs."""
    with pytest.raises(UsageError, match="needs `samples`") as refused:
        package_model(source("images"), PackageOptions(repository=tmp_path / "models"))
    assert "image" in (refused.value.hint or "")


def test_a_saved_module_is_loaded_by_code_of_the_users(nets: ModuleType, tmp_path: Path) -> None:
    """A pickle runs code, so serve loads none by itself; a file that loads it is named in its place."""
    import torch

    torch.save(nets.Halves(), tmp_path / "saved.pt")
    with pytest.raises(InvalidModelError) as refused:
        package_model(tmp_path / "saved.pt", PackageOptions(repository=tmp_path / "models"))
    assert "load.py:model" in (refused.value.hint or "")
    load = f"import torch\nmodel = torch.load({str(tmp_path / 'saved.pt')!r}, weights_only=False)\n"
    (tmp_path / "load_saved.py").write_text(load)
    options = PackageOptions(repository=tmp_path / "models", samples=save(tmp_path, **MATRIX), verify=False)
    assert package_model(Path(f"{tmp_path / 'load_saved.py'}:model"), options).name == "load_saved"
