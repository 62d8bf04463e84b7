"""The winner in the repository: the changed lines with their reasons, everything else as it was."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from batching_models import save
from onnx_models import doubling_model
from repositories import add_model

from serve_deploy import TuneOptions, tune
from serve_deploy.checking.folder_rules import check_folder
from serve_deploy.errors import UsageError
from serve_deploy.manifest import read_manifest
from serve_deploy.model_config import parse_config
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model
from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.repository.model_repository import hash_file
from serve_deploy.tuning.candidates.candidate import BATCH, INSTANCES, THREADS
from serve_deploy.tuning.results.apply import apply_winner
from serve_deploy.tuning.results.result import Confirmation, Effort, FieldChange, Figures, TunedCandidate, TuningResult
from serve_deploy.tuning.task.subject import Subject, read_subject

PACKAGED = """name: "digits"          # the model's folder
backend: "onnxruntime"
max_batch_size: 8       # proven at 1 to 8
# Ours: keep the picture small.
input {
  name: "image"         # a '#' in a comment
  data_type: TYPE_FP32
  dims: [1, 8, 8]
}
output { name: "probabilities" data_type: TYPE_FP32 dims: [10] }
dynamic_batching {
}
instance_group {
  count: 1              # one session
}
"""


def _figures(throughput: float) -> Figures:
    return Figures(concurrency=16, score=throughput, throughput=throughput, p50_us=1e3, p99_us=2e3, meets=True)


def _result(repository: Path, **after: object) -> TuningResult:
    """A result whose winner has these values."""
    paths = {"batch": BATCH, "instances": INSTANCES, "threads": THREADS}
    values = {paths[name]: value for name, value in after.items()}
    return TuningResult(
        tool_version="1", model="digits", repository=str(repository), server="Triton", objective="throughput",
        verdict="better", explanation="", baseline=TunedCandidate(values={}, description=""),
        winner=TunedCandidate(values=values, description=""),
        changes=tuple(
            FieldChange(path=path, before=1, after=value, reason=f"tuned to {value}") for path, value in values.items()
        ),
        confirmation=Confirmation(winner=_figures(200), baseline=_figures(100), gain=1.0, runs=3, holds=True),
        effort=Effort(
            wall_seconds=1, measuring_seconds=1, simulating_seconds=0, waiting_seconds=0, measurements=1,
            resumed_measurements=0, servers_started=1, mean_start_seconds=1, simulated_configurations=1,
        ),
    )  # fmt: skip


def _subject(repository: Path, text: str = PACKAGED, *, packaged: bool = True) -> Subject:
    add_model(repository, packaged=packaged)
    (repository / "digits" / "config.pbtxt").write_text(text)
    return read_subject(TuneOptions(repository=repository, models=("digits",)))


def test_changed_lines_have_their_reason_and_others_stay(tmp_path: Path) -> None:
    """Comments, blank forms and the order of the file survive."""
    subject = _subject(tmp_path)
    applied = apply_winner(_result(tmp_path, batch=16, instances=2), subject)
    text = (tmp_path / "digits" / "config.pbtxt").read_text()
    assert applied.applied
    assert {line.split("#")[0].strip(): line.partition("# ")[2] for line in text.splitlines() if "tuned" in line} == {
        "max_batch_size: 16": "tuned to 16; throughput +100 % in all",
        "count: 2": "tuned to 2; throughput +100 % in all",
    }
    kept = [line for line in PACKAGED.splitlines() if not line.lstrip().startswith(("max_batch", "count", "output"))]
    assert [line for line in kept if line not in text.splitlines()] == []


def test_the_manifest_has_the_evidence(tmp_path: Path) -> None:
    """What was measured, what the next version keeps, and the digest of the new file."""
    subject = _subject(tmp_path)
    apply_winner(_result(tmp_path, batch=16, instances=2, threads=1), subject)
    manifest = read_manifest(tmp_path / "digits")
    assert manifest is not None
    assert manifest.tuned is not None
    assert (manifest.tuned.gain, manifest.tuned.after) == (1.0, {BATCH: 16, INSTANCES: 2, THREADS: 1})
    assert manifest.settings == {"max_batch_size": 16, "instances": 2, "threads": 1}
    digests = {file.path: file.sha256 for file in manifest.files}
    assert digests.get("config.pbtxt", hash_file(tmp_path / "digits" / "config.pbtxt")) == hash_file(
        tmp_path / "digits" / "config.pbtxt"
    )
    assert (tmp_path / "digits" / "1" / "model.onnx").exists()
    assert (tmp_path / "digits" / "samples.npz").exists()


def test_without_a_manifest_a_note_says_so(tmp_path: Path) -> None:
    """A repository that serve did not write has only its configuration changed."""
    subject = _subject(tmp_path, packaged=False)
    applied = apply_winner(_result(tmp_path, batch=16), subject)
    assert applied.applied
    assert "manifest.json" in applied.notes[-1]
    assert not (tmp_path / "digits" / "manifest.json").exists()


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Somebody else's edit is not overwritten, and the result says so."""
    subject = _subject(tmp_path)
    path = tmp_path / "digits" / "config.pbtxt"
    path.write_text(PACKAGED.replace("count: 1", "count: 7"))
    applied = apply_winner(_result(tmp_path, batch=16), subject)
    assert (applied.applied, "changed during this run" in applied.notes[-1]) == (False, True)
    assert "count: 7" in path.read_text()


@pytest.mark.parametrize("file", ["1/model.onnx", "manifest.json"])
def test_another_model_under_the_same_name_is_left_alone(tmp_path: Path, file: str) -> None:
    """What was found holds for the files that ran, and the manifest may have somebody else's news."""
    subject = _subject(tmp_path)
    with (tmp_path / "digits" / file).open("ab") as stream:
        stream.write(b"\n")
    applied = apply_winner(_result(tmp_path, batch=16), subject)
    assert (applied.applied, "changed during this run" in applied.notes[-1]) == (False, True)


def test_a_link_in_the_repository_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    """A folder in its place would leave what it leads to as it was."""
    _subject(tmp_path / "elsewhere")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "digits").symlink_to(tmp_path / "elsewhere" / "digits")
    with pytest.raises(UsageError, match="which is a link"):
        tune(TuneOptions(repository=tmp_path / "models", apply=True, state=tmp_path / "state"))


def test_a_configuration_for_a_gpu_is_tuned_alone(tmp_path: Path) -> None:
    """Its file, its digest, and what the next version keeps; config.pbtxt stays as it is, also through a link."""
    source = save(doubling_model(), tmp_path)
    options = PackageOptions(repository=tmp_path / "models", name="m", verify=False, profiles=("l4", "cpu"))
    folder = package_model(source, options).folder
    before = {name: (folder / name).read_text() for name in ("config.pbtxt", "configs/cpu.pbtxt", "configs/l4.pbtxt")}
    kept_inode = folder.rename(tmp_path / "old")
    shutil.copytree(kept_inode, folder, copy_function=os.link)
    subject = read_subject(TuneOptions(repository=tmp_path / "models", model_config_name="cpu"))

    assert apply_winner(_result(tmp_path / "models", batch=4, instances=3), subject).applied
    tuned = (folder / "configs/cpu.pbtxt").read_text()
    assert "max_batch_size: 4" in tuned
    assert "tuned to 3" in tuned
    assert {name: (folder / name).read_text() for name in ("config.pbtxt", "configs/l4.pbtxt")} == {
        name: before[name] for name in ("config.pbtxt", "configs/l4.pbtxt")
    }
    assert (kept_inode / "configs/cpu.pbtxt").read_text() == before["configs/cpu.pbtxt"]
    assert not check_folder(read_model_folder(folder))
    manifest = read_manifest(folder)
    assert manifest is not None
    assert [(each.profile, each.instances, bool(each.tuned)) for each in manifest.profiles] == [
        ("l4", 2, False), ("cpu", 3, True),
    ]  # fmt: skip
    assert manifest.tuned is None

    package_model(source, replace(options, version=None, profiles=None))
    again = parse_config((folder / "configs/cpu.pbtxt").read_text())
    assert (again.max_batch_size, again.instance_group[0].count) == (4, 3)
    assert "count: 3" not in (folder / "configs/l4.pbtxt").read_text()


def test_a_name_that_no_model_has_is_refused(tmp_path: Path) -> None:
    """config.pbtxt would be tuned without a word."""
    add_model(tmp_path)
    with pytest.raises(UsageError, match=r"no model to tune has configs/l4\.pbtxt"):
        read_subject(TuneOptions(repository=tmp_path, model_config_name="l4"))
