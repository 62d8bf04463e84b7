"""Versions of one model share a configuration: what a further one keeps, changes, and leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx_models import doubling_model

from serve_deploy.checking.folder_rules import check_folder
from serve_deploy.errors import DestinationError, UsageError
from serve_deploy.manifest import MANIFEST_NAME, read_manifest
from serve_deploy.model_config import ConfigOptions, QueuePolicy, VersionPolicy
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import PackagedModel, package_model
from serve_deploy.repository.model_folder import ModelFolder, read_model_folder

SET = ConfigOptions(
    instances=2, max_queue_delay_us=500, queue_policy=QueuePolicy(max_queue_size=64), response_cache=True
)


class Repository:
    """A folder to package versions of y = x + x into, each with class names in its metadata."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "models"
        self._source = folder / "m.onnx"

    def package(
        self,
        version: int | None,
        *,
        config: ConfigOptions | None = None,
        classes: Sequence[str] = ("a", "b", "c"),
        size: int = 3,
        **options: object,
    ) -> PackagedModel:
        model = doubling_model(("N", size))
        model.metadata_props.add(key="names", value=str(list(classes)))
        onnx.save(model, self._source)
        settings = PackageOptions(
            repository=self.path, version=version, verify=False, config=config or ConfigOptions(),
        )  # fmt: skip
        return package_model(self._source, replace(settings, **options))  # type: ignore[arg-type]

    def shared(self) -> dict[str, bytes]:
        """What stands beside the version folders, but for the manifest."""
        files = (path for path in (self.path / "m").rglob("*") if path.is_file() and path.name != MANIFEST_NAME)
        return {str(path): path.read_bytes() for path in files if "model.onnx" not in path.name}

    @property
    def folder(self) -> ModelFolder:
        return read_model_folder(self.path / "m")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.parametrize("there", [2, 5])
def test_an_older_version_leaves_what_is_served_as_it_is(repository: Repository, there: int) -> None:
    """Configuration, labels, warm-up and samples stay, and so does what the manifest says of them."""
    repository.package(there, config=SET)
    before, manifest = repository.shared(), read_manifest(repository.path / "m")
    packaged = repository.package(1, classes=("x", "y", "z"))
    assert repository.shared() == before
    after = read_manifest(repository.path / "m")
    assert manifest
    assert after
    assert (after.version, after.labels, after.settings) == (there, manifest.labels, manifest.settings)
    assert packaged.manifest.other_versions[0].labels == {"y": ("x", "y", "z")}
    assert f"configuration, labels, warm-up and samples stay those of version {there}" in packaged.notes
    assert any("written but not served" in note for note in packaged.notes)
    assert check_folder(repository.folder) == ()


def test_replacing_an_older_version_replaces_nothing_else(repository: Repository) -> None:
    """`force` is for the version that exists, not for what the served one shares."""
    repository.package(1)
    repository.package(2, config=SET)
    before = repository.shared()
    repository.package(1, force=True)
    assert repository.shared() == before


def test_a_hand_written_configuration_stays_for_an_older_version(repository: Repository) -> None:
    """It is not written anew, so that there is nothing to overwrite."""
    repository.package(2)
    config = repository.path / "m" / "config.pbtxt"
    config.write_text(config.read_text() + "# mine\n")
    repository.package(1)
    assert config.read_text().endswith("# mine\n")


def test_settings_for_an_older_version_are_refused(repository: Repository) -> None:
    """They would change what the newer ones are served with; the same ones as before change nothing."""
    repository.package(2, config=SET)
    with pytest.raises(DestinationError, match="`instances=4` would change the configuration of version 2") as refused:
        repository.package(1, config=replace(SET, instances=4))
    assert "package version 2 with it" in str(refused.value.hint)
    repository.package(1, config=SET)


def test_an_older_version_that_does_not_fit_is_refused(repository: Repository) -> None:
    """All versions share one list of tensors; `force` does not change that."""
    repository.package(2)
    with pytest.raises(DestinationError, match="does not fit the configuration of version 2"):
        repository.package(1, size=4, classes=(), force=True)


def test_an_older_version_with_other_classes_is_not_served_beside(repository: Repository) -> None:
    """One file of class names cannot be right for both."""
    repository.package(2, config=ConfigOptions(version_policy=VersionPolicy()))
    with pytest.raises(DestinationError, match="other class names for 'y' than version 2, and both are served"):
        repository.package(1, classes=("x", "y", "z"))


def test_a_newer_version_with_other_classes_is_not_served_beside(repository: Repository) -> None:
    """The policy that keeps the old version served is kept, too."""
    repository.package(1, config=ConfigOptions(version_policy=VersionPolicy()))
    with pytest.raises(DestinationError, match="version 1 is served, too, and has other class names for 'y'"):
        repository.package(None, classes=("x", "y", "z"))
    packaged = repository.package(
        None, classes=("x", "y", "z"), config=ConfigOptions(version_policy=VersionPolicy(latest=1))
    )
    assert "class names of 'y': 3 others" in packaged.notes


def test_the_next_version_keeps_what_was_set(repository: Repository) -> None:
    """All of it, the release and the batch size included, and says so; nothing in the configuration changes."""
    repository.package(1, config=SET, release="24.10", max_batch_size=16, warmup=False)
    before = repository.folder.config
    packaged = repository.package(None)
    assert repository.folder.config == before
    assert packaged.manifest.triton_release == "24.10"
    assert "`instances=2`" in packaged.notes[0]
    assert len([note for note in packaged.notes if "→" in note]) == 0
    assert repository.package(None).manifest.settings == packaged.manifest.settings


def test_what_is_given_anew_replaces_what_was_set_and_is_said(repository: Repository) -> None:
    """Also the value that is the default; of a queue policy only the part that is given."""
    repository.package(1, config=SET)
    anew = ConfigOptions(max_queue_delay_us=0, instances=1, queue_policy=QueuePolicy(default_timeout_us=900))
    packaged = repository.package(None, config=anew)
    policy = repository.folder.config.dynamic_batching.default_queue_policy
    assert (policy.max_queue_size, policy.default_timeout_microseconds) == (64, 900)
    assert "dynamic_batching.max_queue_delay_microseconds: 500 → 0 (given)" in packaged.notes
    assert "instance_group[0].count: 2 → 1 (given)" in packaged.notes
    assert repository.folder.config.response_cache.enable


def test_settings_are_forgotten_on_request_and_that_is_said(repository: Repository) -> None:
    """`keep_settings=False` starts from the defaults."""
    repository.package(1, config=SET)
    packaged = repository.package(None, keep_settings=False)
    assert packaged.manifest.settings == {}
    assert "instance_group[0].count: 2 → 1 (not given: from the model or a default)" in packaged.notes


def test_what_changes_with_the_model_is_said(repository: Repository) -> None:
    """Class names, for instance, that the new file has."""
    repository.package(1)
    assert "class names of 'y': 3 others" in repository.package(None, classes=("x", "y", "z")).notes


def test_labels_that_were_given_stay(repository: Repository, tmp_path: Path) -> None:
    """The file they came from may be gone; the new model's own do not replace them."""
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    repository.package(1, labels=(str(tmp_path / "names.txt"),))
    (tmp_path / "names.txt").unlink()
    repository.package(None)
    assert repository.folder.labels == {"y": ("one", "two", "three")}


def test_a_kept_setting_that_no_longer_works_is_named(repository: Repository) -> None:
    """Else nobody would know where it comes from."""
    repository.package(1, config=ConfigOptions(version_policy=VersionPolicy(specific=(1,))))
    with pytest.raises(UsageError, match="would never serve version 2") as refused:
        repository.package(None)
    assert "kept from before: `version_policy`; `keep_settings=False`" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("config.pbtxt", "max_batch_size: 8", "max_batch_size: 4", "max_batch_size"),
        ("config.pbtxt", "dims: [3]", "dims: [4]", "input"),
        ("labels.txt", "b", "B", "output[0].label_filename"),
    ],
)
def test_check_sees_that_shared_files_are_not_the_served_versions(
    repository: Repository, file: str, old: str, new: str, field: str
) -> None:
    """Even where the manifest has the changed file's digest, as earlier versions of serve wrote it."""
    repository.package(1)
    path = repository.path / "m" / file
    path.write_text(path.read_text().replace(old, new))
    manifest = read_manifest(repository.path / "m")
    assert manifest
    forged = manifest.model_copy(update={"files": ()})
    (repository.path / "m" / MANIFEST_NAME).write_text(forged.model_dump_json())
    found = {problem.field: problem.message for problem in check_folder(repository.folder)}
    assert "version 1 was packaged with" in found[field]


def test_a_version_that_was_deleted_leaves_the_manifest(repository: Repository) -> None:
    """The next run records what is there."""
    import shutil

    repository.package(1)
    repository.package(2)
    shutil.rmtree(repository.path / "m" / "2")
    assert repository.package(None).version == 2
    shutil.rmtree(repository.path / "m" / "1")
    assert repository.package(None).manifest.other_versions[0].version == 2


def test_an_empty_name_is_refused(repository: Repository) -> None:
    """It is not the same as none."""
    with pytest.raises(UsageError, match="the model name is empty"):
        repository.package(1, name="")
