"""What to type where an extra is missing."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from serve_deploy.extras import install_command


@pytest.mark.parametrize(("extra", "package"), [("local", "nvidia-pytriton"), ("image", "pillow")])
def test_the_command_names_what_the_extra_brings(extra: str, package: str) -> None:
    """Not this package's own name, which no index knows before its release; into the environment that runs."""
    python, *arguments, requirement = shlex.split(install_command(extra))
    assert (Path(python), arguments) == (Path(sys.executable), ["-m", "pip", "install"])
    assert requirement.startswith(package)


@pytest.mark.parametrize(
    ("file", "command"), [("pipx_metadata.json", "pipx inject triton-serve "), ("uv-receipt.toml", "uv pip install ")]
)
def test_environments_of_pipx_and_uv_are_told_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, command: str
) -> None:
    """They have no pip of their own."""
    (tmp_path / file).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert install_command("local").startswith(command)


@pytest.mark.parametrize("extra", ["s3", "gs", "azure", "oci"])
def test_a_store_is_opened_with_what_its_extra_brings(extra: str) -> None:
    """In a Python to which every other optional library is hidden."""
    script = Path(__file__).parents[1] / "support" / "open_store_with_extra.py"
    ended = subprocess.run([sys.executable, str(script), extra], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
