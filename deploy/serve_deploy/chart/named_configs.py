"""Which of the models' configurations a pod takes, and where TensorRT keeps the engines that they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.value_paths import DerivedValue
from serve_deploy.overrides import find_value
from serve_deploy.packaging.options.profile_names import CPU
from serve_deploy.releases import NAMED_CONFIGS_SINCE
from serve_deploy.repository.model_folder import ModelFolder

TEMPORARY = PurePosixPath("/tmp")  # noqa: S108 - in the pod, a volume of its own
GIB = 2**30
# An engine has the weights, and kernels' own copies of them (assumed).
_ENGINE_SHARE = 2


@dataclass(frozen=True)
class NamedChoice:
    """The models as the pod's Triton reads them, the name that it is started with, and what the user should know."""

    models: tuple[ModelFolder, ...]
    derived: tuple[DerivedValue, ...] = ()
    notes: tuple[str, ...] = ()


def choose_named(models: Sequence[ModelFolder], options: ChartOptions, release: str) -> NamedChoice:
    """Each model under the name of the pod's GPU, or of the CPU; config.pbtxt where it has no such file."""
    plain = tuple(models)
    asked = find_value(options.overrides, "server.modelConfigName")
    there = sorted({name for model in models for name in model.named})
    name = str(asked or options.gpu or (CPU if CPU in there else ""))
    if not there or not name or release < NAMED_CONFIGS_SINCE:
        return NamedChoice(plain)
    having = [model.name for model in models if name in model.named]
    if not having:
        return NamedChoice(plain, notes=(f"no model has configs/{name}.pbtxt; there are: {', '.join(there)}",))
    others = [model.name for model in models if model.name not in having and not model.members]
    origin = f"configs/{name}.pbtxt of {', '.join(having)}"
    if others:
        origin += f"; config.pbtxt of {', '.join(others)}"
    derived = () if asked else (DerivedValue("server.modelConfigName", name, origin),)
    mig = find_value(options.overrides, "gpu.mig")
    notes = (f"configs/{name}.pbtxt is sized for a whole {name}, and {mig} is a slice of it",) if mig else ()
    return NamedChoice(tuple(model.under(name) for model in models), derived, notes)


def engine_folders(models: Sequence[ModelFolder]) -> tuple[str, ...]:
    """The folders that hold the folders of the models' engines, besides /tmp and what is not a whole path."""
    folders = (PurePosixPath(model.engine_cache).parent for model in models if model.engine_cache)
    return tuple(dict.fromkeys(str(folder) for folder in folders if folder.is_absolute() and folder != TEMPORARY))


def engine_bytes(models: Sequence[ModelFolder]) -> int:
    """What the engines that are kept are assumed to take."""
    return sum(_ENGINE_SHARE * model.size_bytes for model in models if model.engine_cache)


def derive_engine_cache(models: Sequence[ModelFolder]) -> Iterator[DerivedValue]:
    """A volume for the engines, where the configurations name a folder outside /tmp."""
    folders = engine_folders(models)
    if len(folders) == 1:
        size = f"{1 + engine_bytes(models) // GIB}Gi"
        yield DerivedValue("engineCache.path", folders[0], "trt_engine_cache_path of the models' configurations")
        yield DerivedValue("engineCache.size", size, f"{_ENGINE_SHARE} * the models whose engines are kept (assumed)")


def note_engine_cache(models: Sequence[ModelFolder]) -> Iterator[str]:
    """What must be mounted by hand."""
    folders = engine_folders(models)
    if len(folders) > 1:
        yield f"TensorRT's engines are kept in {', '.join(folders)}: mount them with the chart's pod.volumes"
