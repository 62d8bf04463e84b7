"""How the models of a repository are run without Triton, and why some are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import add_to_repository, doubling_model
from repositories import add_ensemble, add_model

from serve_deploy.references.models import find_run
from serve_deploy.repository.model_folder import read_model_folder


def test_a_model_without_a_configuration_is_run_as_it_is(tmp_path: Path) -> None:
    """Triton completes it from the model."""
    add_to_repository(tmp_path, "m", doubling_model())
    (tmp_path / "m" / "config.pbtxt").unlink(missing_ok=True)
    run, why = find_run(read_model_folder(tmp_path / "m"))
    assert (run is not None, why) == (True, "")
    assert run is not None
    assert run({"x": np.ones((1, 3), np.float32)})["y"].tolist() == [[2, 2, 2]]


def test_the_version_that_is_asked_for_is_run(tmp_path: Path) -> None:
    """By default the newest that is served."""
    folder = add_model(tmp_path)
    (folder / "2").mkdir()
    (folder / "2" / "model.onnx").write_bytes(doubling_model(("batch", 1, 8, 8)).SerializeToString())
    read = read_model_folder(folder)
    image = {"image": np.ones((1, 1, 8, 8), np.float32)}
    first, _why = find_run(read, 1)
    newest, _why = find_run(read)
    assert first is not None
    assert newest is not None
    assert first(image)["probabilities"].shape == (1, 10)
    with pytest.raises(Exception, match="image"):
        newest(image)


def test_an_ensemble_runs_its_members(tmp_path: Path) -> None:
    """Or says which of them only Triton runs."""
    add_model(tmp_path)
    add_ensemble(tmp_path, "whole", "digits")
    run, _why = find_run(read_model_folder(tmp_path / "whole"))
    assert run is not None
    assert run({"image": np.ones((2, 1, 8, 8), np.float32)})["p"].shape == (2, 10)
    config = tmp_path / "digits" / "config.pbtxt"
    config.write_text(config.read_text().replace("onnxruntime", "tensorrt"))
    assert find_run(read_model_folder(tmp_path / "whole")) == (None, "digits runs in Triton alone (tensorrt)")


def test_an_ensemble_without_a_member_says_so(tmp_path: Path) -> None:
    """By its name."""
    add_ensemble(tmp_path, "whole", "gone")
    assert find_run(read_model_folder(tmp_path / "whole"))[1] == "whole calls gone, which is not in the repository"
