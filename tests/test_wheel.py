"""What users install is tested, not only the checkout: the sdist, the wheel made from it, an empty environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import serve_deploy

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "examples" / "digits"
# Building and installing take most of it; the machine may be busy with other tests.
pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Distribution:
    """The built files, and a venv that holds the wheel and what it depends on."""

    sdist: Path
    wheel: Path
    serve: Path


def _run(*command: object, **options: object) -> None:
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """The sdist, the wheel made out of it (built now, or in SERVE_DIST), and an empty environment with the wheel."""
    folder = tmp_path_factory.mktemp("distribution")
    built = Path(os.environ.get("SERVE_DIST", folder))
    if built == folder:
        _run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (sdist,), (wheel,) = built.glob("triton_serve-*.tar.gz"), built.glob("triton_serve-*.whl")
    venv.create(folder / "venv", with_pip=True)
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
    _run(*pip, f"{wheel}[local]", "--constraint", ROOT / "constraints.txt")
    return Distribution(sdist, wheel, folder / "venv" / "bin" / "serve")


@pytest.fixture
def installed(distribution: Distribution, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the installed `serve` from a folder that has nothing to do with the checkout."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [distribution.serve, *map(str, arguments)], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


def test_wheel_holds_the_whole_package_and_nothing_else(distribution: Distribution) -> None:
    """Both packages with their types, the embedded backend and the chart; no tests, examples or caches."""
    names = zipfile.ZipFile(distribution.wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"serve_cli", "serve_deploy"}
    assert {
        "serve_cli/py.typed",
        "serve_deploy/py.typed",
        "serve_deploy/triton/backends/onnxruntime/model.py",
        "serve_deploy/charts/triton/Chart.yaml",
    } <= set(names)
    assert [name for name in names if "__pycache__" in name or Path(name).name.startswith("test_")] == []


def test_wheel_holds_every_file_of_the_source_tree(distribution: Distribution) -> None:
    """No data file is forgotten: whatever lies under the packages and the chart is in the wheel."""
    sources = {"cli/serve_cli": "serve_cli", "deploy/serve_deploy": "serve_deploy", "charts": "serve_deploy/charts"}
    expected = {
        f"{place}/{path.relative_to(ROOT / source)}"
        for source, place in sources.items()
        for path in (ROOT / source).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - set(zipfile.ZipFile(distribution.wheel).namelist()) == set()


def test_sdist_can_be_developed_from(distribution: Distribution) -> None:
    """It holds the tests, the example, the Makefile and the documents."""
    with tarfile.open(distribution.sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {
        "Makefile",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "Dockerfile",
        "LICENSE",
        "constraints.txt",
        "examples/digits/digits.onnx",
    }
    assert wanted | {"tests/conftest.py", "scripts/get_tools.sh"} <= names


def test_installed_command_works_from_any_folder(installed) -> None:
    """The script `serve` is there and finds its package without a checkout."""
    assert installed("--version").stdout == f"serve {serve_deploy.__version__}\n"


def test_installed_package_serves_a_model(installed, tmp_path: Path) -> None:
    """From another folder: package the example, proven on the real Triton that the extra `local` brings."""
    done = installed("package", DIGITS / "digits.onnx", "-o", tmp_path / "models", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["packaged"][0]["manifest"]["verification"]["runtime"] == "embedded"
    assert installed("check", tmp_path / "models").returncode == 0


def test_installed_package_runs_a_server_and_asks_it(distribution: Distribution, installed, tmp_path: Path) -> None:
    """`serve run` and `serve infer`, as a user types them after the installation."""
    assert installed("package", DIGITS / "digits.onnx", "-o", tmp_path / "models", "--no-verify").returncode == 0
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    command = [distribution.serve, "run", tmp_path / "models", *ports, "--json"]
    with subprocess.Popen(command, env={"PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = json.loads("".join(iter(server.stdout.readline, "}\n")) + "}")["http_url"]
            done = installed("infer", url, "-m", "digits", "--repository", tmp_path / "models", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["outputs"][0]["classes"][0][0]["label"] == "zero"
        finally:
            server.terminate()
    assert server.returncode == 0


def test_installed_package_writes_a_chart(installed, tmp_path: Path) -> None:
    """The chart that travels in the wheel is found, without a checkout."""
    assert installed("package", DIGITS / "digits.onnx", "-o", tmp_path / "models", "--no-verify").returncode == 0
    done = installed("chart", tmp_path / "models", "-o", tmp_path / "chart")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "chart" / "Chart.yaml").is_file()
