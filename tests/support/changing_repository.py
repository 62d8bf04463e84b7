"""A repository that changes at random as people change one: versions, configurations, models that come and go."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from repositories import DIGITS, TENSORS

REVISION = "revision"


class ChangingRepository:
    """Small ONNX models under changing names; the same seed makes the same changes."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self._random, self._made = folder, random.Random(seed), 0
        for _count in range(3):
            self.add_model()

    @property
    def names(self) -> list[str]:
        """The models that are there."""
        return sorted(path.name for path in self.folder.iterdir())

    def change(self) -> str:
        """Change something; returns what."""
        kinds: list[Callable[[], str]] = [
            self.add_version, self.add_version, self.change_config, self.change_config_and_labels, self.add_model,
            self.remove_model, self.remove_version, self.add_version_and_change_config,
        ]  # fmt: skip
        return self._random.choice(kinds)()

    def add_model(self) -> str:
        """A new model with one version."""
        self._made += 1
        folder = self.folder / f"model{self._made}"
        folder.mkdir(parents=True)
        self._write_version(folder, 1)
        self._write_config(folder)
        return f"add {folder.name}"

    def remove_model(self) -> str:
        """One model fewer, as long as there are some."""
        if len(self.names) < 3:
            return self.add_model()
        folder = self._choose()
        shutil.rmtree(folder)
        return f"remove {folder.name}"

    def add_version(self) -> str:
        """A newer version of a model."""
        folder = self._choose()
        version = max(self._versions(folder)) + 1
        self._write_version(folder, version)
        return f"add version {version} of {folder.name}"

    def remove_version(self) -> str:
        """The oldest version of a model goes, if it has several."""
        folder = self._choose()
        versions = self._versions(folder)
        if len(versions) < 2:
            return self.add_version()
        shutil.rmtree(folder / str(versions[0]))
        return f"remove version {versions[0]} of {folder.name}"

    def change_config(self) -> str:
        """Other instances, or another batch."""
        folder = self._choose()
        self._write_config(folder)
        return f"change the configuration of {folder.name}"

    def change_config_and_labels(self) -> str:
        """Two files that belong together."""
        folder = self._choose()
        (folder / "labels.txt").write_text("\n".join(f"{self._random.random()}" for _number in range(10)))
        self._write_config(folder)
        return f"change configuration and labels of {folder.name}"

    def add_version_and_change_config(self) -> str:
        """What serve package does."""
        return f"{self.add_version()}, {self.change_config()}"

    def _choose(self) -> Path:
        return self.folder / self._random.choice(self.names)

    def _versions(self, folder: Path) -> list[int]:
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())

    def _write_version(self, folder: Path, version: int) -> None:
        import onnx

        model = onnx.load(DIGITS / "digits.onnx")
        model.doc_string = f"{folder.name} {version} {self._random.random()}"
        (folder / str(version)).mkdir()
        onnx.save(model, folder / str(version) / "model.onnx")

    def _write_config(self, folder: Path) -> None:
        policy = self._random.choice(["all {}", "latest { num_versions: 1 }", "latest { num_versions: 2 }"])
        (folder / "config.pbtxt").write_text(
            f'name: "{folder.name}" {TENSORS} version_policy: {{ {policy} }} '
            f"instance_group {{ count: {self._random.randint(1, 2)} }}\n"
            f'parameters {{ key: "{REVISION}" value {{ string_value: "{self._random.random()}" }} }}\n'
        )
