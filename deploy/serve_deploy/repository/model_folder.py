"""What is in a model's folder: one reader for all that write, check, load and deploy models."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.files.staging import STAGING_PREFIX, recover
from serve_deploy.manifest import MANIFEST_NAME, SAMPLES_NAME, Manifest, read_manifest
from serve_deploy.model_config import CONFIG_NAME, CONFIGS_FOLDER, is_ensemble, named_config_path, parse_config
from serve_deploy.model_config.digest import config_sha256, instance_count
from serve_deploy.model_config.ensemble_graph import is_itself_decoupled
from serve_deploy.model_config.rules.frameworks import fil_file
from serve_deploy.onnx.header import read_versions
from serve_deploy.releases import check_release

MODEL_NAME = "model.onnx"
# What Triton calls a model's file in its version folder, by backend or platform.
MODEL_FILES = {
    "onnxruntime": MODEL_NAME, "onnxruntime_onnx": MODEL_NAME, "python": "model.py",
    "tensorrt": "model.plan", "tensorrt_plan": "model.plan", "pytorch": "model.pt", "pytorch_libtorch": "model.pt",
    "torch_aoti": "model.pt2", "tensorflow": "model.savedmodel", "tensorflow_savedmodel": "model.savedmodel",
    "tensorflow_graphdef": "model.graphdef", "openvino": "model.xml", "vllm": "model.json",
}  # fmt: skip
# What turns vLLM's own metrics on, in its configuration.
REPORT_CUSTOM_METRICS = 'parameters { key: "REPORT_CUSTOM_METRICS" value { string_value: "true" } }'
# By which file Triton guesses the backend where the configuration names none, in this order.
_TELLING_FILES = ("model.plan", MODEL_NAME, "model.xml", "model.pt", "model.py")


@dataclass(frozen=True)
class NamedConfig:
    """A configuration that Triton takes in place of config.pbtxt where it is asked for by name."""

    text: str | None
    config: Any


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder as it was read.

    `config` is a ModelConfig, empty where there is no config.pbtxt that can be read; `errors` says by file name why
    a configuration or the manifest cannot be read, and under "" why the folder cannot. `identity` changes when
    another run replaces the folder. `named` has the configurations in configs/ that can be read, by name, and
    `config_path` is where the one that counts stands.
    """

    path: Path
    identity: tuple[int, int, int]
    versions: tuple[int, ...]
    config_text: str | None
    config: Any
    manifest: Manifest | None
    errors: Mapping[str, InvalidModelError]
    named: Mapping[str, NamedConfig] = field(default_factory=dict)
    config_path: str = CONFIG_NAME

    def under(self, name: str) -> ModelFolder:
        """The folder as Triton reads it with `--model-config-name`; itself where it has no configuration of that name.

        One that cannot be read is an error of config.pbtxt then: Triton does not fall back.
        """
        found, broken = self.named.get(name), self.errors.get(named_config_path(name))
        others = {file: error for file, error in self.errors.items() if file in ("", MANIFEST_NAME)}
        if broken:
            return replace(self, config=parse_config(""), errors=others | {CONFIG_NAME: broken}, named={})
        if found:
            path, config = named_config_path(name), found.config
            return replace(self, config=config, config_text=found.text, errors=others, named={}, config_path=path)
        return self

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def named_as(self) -> str:
        """By which name the configuration that counts is chosen; "" for config.pbtxt."""
        return "" if self.config_path == CONFIG_NAME else Path(self.config_path).stem

    @property
    def is_model(self) -> bool:
        """Whether Triton could take it for a model: it has a configuration or a version."""
        return bool(self.versions) or self.config_text is not None or CONFIG_NAME in self.errors

    @property
    def file_name(self) -> str:
        """What the model's file is called in each version folder; "" for an ensemble or an unknown backend."""
        if is_ensemble(self.config):
            return ""
        if self.config.default_model_filename:
            return str(self.config.default_model_filename)
        if self.config.backend == "fil":
            return fil_file(self.config)
        named = self.config.platform if self.config.platform in MODEL_FILES else self.config.backend
        if named or self.config.platform or not self.versions:
            return MODEL_FILES.get(named, "") if named or self.config.platform else MODEL_NAME
        first = self.path / str(self.versions[0])
        return next((name for name in _TELLING_FILES if (first / name).exists()), MODEL_NAME)

    @property
    def served_versions(self) -> tuple[int, ...]:
        """The versions that Triton serves by the configuration's policy, oldest first."""
        return select_versions(self.config, self.versions)

    def with_version(self, version: int, config: Any) -> ModelFolder:
        """The folder as it will be with one version more, or the same ones, and another configuration."""
        return replace(self, versions=tuple(sorted({*self.versions, version})), config=config)

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """What its ONNX models and Python functions need of the image that serves them, as notes for the user."""
        from serve_deploy.onnx.model import list_needs, read_model

        normalizing = [file for file in self.onnx_files if _mentions(file, b"StringNormalizer")]
        known = self.manifest.needs if self.manifest else ()
        return tuple(dict.fromkeys((*known, *(need for file in normalizing for need in list_needs(read_model(file))))))

    @property
    def missing_files(self) -> tuple[int, ...]:
        """The versions without the model's file."""
        # With a file for each compute capability, the one of no GPU in particular may be missing.
        names = tuple(self.config.cc_model_filenames.values()) or tuple(filter(None, [self.file_name]))
        return tuple(
            each for each in self.versions if not all((self.path / str(each) / name).exists() for name in names)
        )

    @property
    def onnx_files(self) -> tuple[Path, ...]:
        """The ONNX file of each version that has one, oldest first."""
        found = (find_onnx_file(self.path / str(version) / self.file_name) for version in self.versions)
        return tuple(file for file in found if file)

    @cached_property
    def files(self) -> Mapping[str, Path]:
        """Every file that Triton needs, by its path in the folder: all but the manifest and the samples."""
        paths = sorted(path for path in self.path.rglob("*") if path.is_file())
        ours = (MANIFEST_NAME, SAMPLES_NAME)
        return {path.relative_to(self.path).as_posix(): path for path in paths if path.name not in ours}

    @property
    def size_bytes(self) -> int:
        """Bytes of all `files`."""
        return sum(path.stat().st_size for path in self.files.values())

    @property
    def samples(self) -> Path | None:
        """The samples that `serve package` kept, if there are any."""
        path = self.path / SAMPLES_NAME
        return path if path.is_file() else None

    @cached_property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """The class names of each output whose label file can be read."""
        files = {
            tensor.name: self.path / tensor.label_filename for tensor in self.config.output if tensor.label_filename
        }
        labels = {}
        for output, file in files.items():
            with suppress(OSError, UnicodeDecodeError):
                labels[output] = tuple(file.read_text(encoding="utf-8").splitlines())
        return labels

    @property
    def members(self) -> tuple[str, ...]:
        """The models that an ensemble calls; none for any other model."""
        return tuple(dict.fromkeys(step.model_name for step in self.config.ensemble_scheduling.step))

    @property
    def is_decoupled(self) -> bool:
        """Whether it may answer a request many times itself, not as an ensemble."""
        return is_itself_decoupled(self.config)

    @property
    def reports_custom_metrics(self) -> bool:
        """Whether vLLM's own metrics are on."""
        parameters = self.config.parameters
        return "REPORT_CUSTOM_METRICS" in parameters and (
            parameters["REPORT_CUSTOM_METRICS"].string_value.lower() == "true"
        )

    @property
    def max_batch_size(self) -> int:
        """The largest batch; 0 where the model does not batch."""
        return int(self.config.max_batch_size)

    @property
    def instances(self) -> int | None:
        """Instances that the configuration asks for; None where Triton chooses."""
        return instance_count(self._config_json)

    @property
    def config_sha256(self) -> str | None:
        """The digest by which a load-test report recognises the configuration; None where Triton completes it."""
        return config_sha256(self._config_json) if self.config.input and self.config.output else None

    @property
    def builds_engine(self) -> bool:
        """Whether loading it builds a TensorRT engine, which takes minutes."""
        accelerators = self.config.optimization.execution_accelerators.gpu_execution_accelerator
        return any(accelerator.name == "tensorrt" for accelerator in accelerators)

    @property
    def engine_cache(self) -> str:
        """The folder where TensorRT keeps this model's engines; "" where it keeps none, or in its working folder."""
        accelerators = self.config.optimization.execution_accelerators.gpu_execution_accelerator
        parameters = next((dict(each.parameters) for each in accelerators if each.name == "tensorrt"), {})
        kept = parameters.get("trt_engine_cache_enable", "").lower() in ("1", "true")
        return parameters.get("trt_engine_cache_path", "") if kept else ""

    @cached_property
    def _config_json(self) -> dict[str, Any]:
        from google.protobuf.json_format import MessageToDict

        return {"name": self.name, **MessageToDict(self.config, preserving_proto_field_name=True)}


def read_model_folder(path: Path) -> ModelFolder:
    """Read a model's folder as far as it can be read; FileNotFoundError where there is none."""
    status = path.stat()
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns)
    errors: dict[str, InvalidModelError] = {}
    try:
        versions = list_versions(path)
    except OSError as error:
        return ModelFolder(path, identity, (), None, parse_config(""), None, {"": _unreadable(path, error)})
    text, config = _read_config(path, CONFIG_NAME, errors)
    files = sorted((path / CONFIGS_FOLDER).glob("*.pbtxt"))
    read = {file.stem: NamedConfig(*_read_config(path, named_config_path(file.stem), errors)) for file in files}
    named = {name: each for name, each in read.items() if named_config_path(name) not in errors}
    manifest = None
    try:
        manifest = read_manifest(path)
    except InvalidModelError as error:
        errors[MANIFEST_NAME] = error
    return ModelFolder(path, identity, versions, text, config, manifest, errors, named)


def _read_config(folder: Path, name: str, errors: dict[str, InvalidModelError]) -> tuple[str | None, Any]:
    text, path = None, folder / name
    try:
        text = path.read_text(encoding="utf-8")
        return text, parse_config(text, path)
    except FileNotFoundError:
        pass
    except InvalidModelError as error:
        errors[name] = error
    except (OSError, UnicodeDecodeError) as error:
        errors[name] = _unreadable(path, error)
    return text, parse_config("")


def _mentions(path: Path, word: bytes) -> bool:
    """Whether a file has the word in it; far quicker than parsing a large model."""
    # An empty file cannot be mapped, and protobuf has no message of 2 GiB.
    if not 0 < path.stat().st_size < 2**31:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(word) >= 0


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InvalidModelError:
    reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is not UTF-8 text"
    return InvalidModelError(f"{path}: cannot be read: {reason}")


def select_versions(config: Any, versions: tuple[int, ...]) -> tuple[int, ...]:
    """Of a model's versions, those that Triton serves by the configuration's policy, oldest first."""
    policy = config.version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return versions
        case "specific":
            return tuple(version for version in versions if version in policy.specific.versions)
        case "latest":
            return versions[-policy.latest.num_versions :] if policy.latest.num_versions else ()
    return versions[-1:]


def list_versions(path: Path) -> tuple[int, ...]:
    """The versions that Triton sees in a model's folder, oldest first."""
    names = (entry.name for entry in path.iterdir() if entry.is_dir())
    return tuple(sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name)))


def find_onnx_file(path: Path) -> Path | None:
    """The ONNX file at a version's model path; with external data that path is a folder, and the file is in it."""
    file = path / MODEL_NAME if path.is_dir() else path
    return file if file.suffix == ".onnx" and file.is_file() else None


def list_folders(repository: Path) -> list[Path]:
    """Every folder that Triton would try to load, by name; what a killed run left half moved is undone first.

    UsageError where the repository is not a folder.
    """
    _require_folder(repository)
    recover(repository)
    return sorted(path for path in repository.iterdir() if path.is_dir() and not path.name.startswith(STAGING_PREFIX))


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        raise UsageError(
            f"{path} is not a folder", hint="name a model repository, such as one that serve package wrote"
        )


def require_repository(path: Path) -> None:
    """UsageError where there is no folder, or it is a model's and holds no models itself."""
    _require_folder(path)
    if (path / CONFIG_NAME).exists() and not any(path.glob(f"[!.]*/{CONFIG_NAME}")):
        around = path.parent if path.name else path.resolve().parent
        raise UsageError(f"{path} is a model's folder, not a repository", hint=f"name the folder around it: {around}")


def read_models(repository: Path) -> tuple[ModelFolder, ...]:
    """Read every model of a repository; InvalidModelError where there is none, or one cannot be read.

    UsageError where it is a model's own folder.
    """
    folders = (read_model_folder(path) for path in list_folders(repository) if not path.name.startswith("."))
    models = tuple(folder for folder in folders if folder.is_model)
    if not models:
        require_repository(repository)
        raise InvalidModelError(
            f"{repository} contains no model", hint="a model is a folder with config.pbtxt, or with a version folder"
        )
    for model in models:
        for error in model.errors.values():
            raise error
    _require_members(models)
    return models


def _require_members(models: Sequence[ModelFolder]) -> None:
    names = {model.name for model in models}
    for model in models:
        missing = [member for member in model.members if member not in names]
        if missing:
            raise InvalidModelError(
                f"ensemble {model.name} calls {', '.join(missing)}, which the repository does not contain",
                hint="put the folder of every member beside the ensemble's",
            )


def top_level(models: Sequence[ModelFolder]) -> tuple[str, ...]:
    """The models that clients call: all but the members of ensembles."""
    members = {member for model in models for member in model.members}
    return tuple(model.name for model in models if model.name not in members)


def find_newer_models(repository: Path, release: str) -> dict[str, InvalidModelError]:
    """The models of a repository that are too new for the release's ONNX Runtime, each with the reason."""
    refused = {}
    for path in sorted(repository.glob("[!.]*/*/model.onnx")):
        file = find_onnx_file(path)
        if path.parent.name.isdigit() and file and (error := check_release(release, *read_versions(file))):
            refused[path.parents[1].name] = error
    return refused
