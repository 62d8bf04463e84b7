"""What a language model asks of its pod: the image with its engine, GPUs, nodes, shared memory, and its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.value_paths import DerivedValue
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.gpu_profiles import PROFILES, find_profile
from serve_deploy.manifest import LanguageModel
from serve_deploy.overrides import find_value
from serve_deploy.repository.model_folder import ModelFolder

GIB = 2**30
_IMAGES = {"vllm": "vllm-python-py3", "tensorrtllm": "trtllm-python-py3"}


def find_language_model(models: Sequence[ModelFolder]) -> LanguageModel | None:
    """The language model of a repository; InvalidModelError where there are two, or it has company.

    Each engine has an image of its own, and takes the pod's GPUs for itself.
    """
    found = {model.name: model.manifest.language_model for model in models if model.manifest}
    engines = {name: language for name, language in found.items() if language}
    if engines and len(models) > 1:
        others = [model.name for model in models if model.name not in engines] or list(engines)[1:]
        first = next(iter(engines))
        raise InvalidModelError(
            f"the language model {first} cannot share a pod with {', '.join(others)}: its engine has an image of its"
            " own, and takes all GPUs of the pod",
            hint="chart each from a repository of its own",
        )
    return next(iter(engines.values()), None)


def image_tag(models: Sequence[ModelFolder], release: str) -> str:
    """The tag of the release's image that has the models' engine."""
    language = find_language_model(models)
    by_hand = "vllm" if any(model.config.backend == "vllm" for model in models) else None
    engine = language.backend if language else by_hand
    return f"{release}-{_IMAGES[engine]}" if engine else f"{release}-py3"


def derive_language_gpus(language: LanguageModel, options: ChartOptions) -> Iterator[DerivedValue]:
    """The GPUs that it was packaged for; InvalidModelError where others are asked for that hold less."""
    gpu = options.gpu or language.gpu
    profile = find_profile(gpu, cloud=options.cloud)
    packaged = PROFILES.get(language.gpu)
    if packaged and profile.usable_gib < packaged.usable_gib:
        raise InvalidModelError(
            f"the model was packaged for {language.gpu}, with {packaged.usable_gib:g} GiB, and {gpu} has"
            f" {profile.usable_gib:g} GiB",
            hint=f"package it again for {gpu}: serve package … --gpu-profile {gpu} --force",
        )
    count = language.gpus_per_node
    asked = find_value(options.overrides, "gpu.count")
    if asked and int(asked) < count:
        raise UsageError(
            f"gpu.count={asked}, but the model was packaged for {count} GPUs a node", hint="package it again with fewer"
        )
    yield DerivedValue("gpu.profile", gpu, "`gpu`" if options.gpu else "the GPU that the model was packaged for")
    where = "`cloud`" if options.cloud else "any: matched by NVIDIA's node label"
    yield DerivedValue("gpu.cloud", options.cloud, where)
    sizes = f"{language.tensor_parallel} × {language.pipeline_parallel} parallel, as packaged"
    nodes = f", over {language.nodes} nodes" if language.nodes > 1 else ""
    yield DerivedValue("gpu.count", count, sizes + nodes)
    if language.nodes > 1:
        yield from _derive_group(language)


def _derive_group(language: LanguageModel) -> Iterator[DerivedValue]:
    yield DerivedValue("multiNode.enabled", True, f"the model was packaged for {language.nodes} nodes")
    yield DerivedValue("multiNode.backend", language.backend, "the engine that it was packaged for")
    yield DerivedValue("multiNode.tensorParallel", language.tensor_parallel, "as packaged")
    yield DerivedValue("multiNode.pipelineParallel", language.pipeline_parallel, "as packaged")


def derive_shared_memory(language: LanguageModel) -> DerivedValue:
    """The size of the pod's shared memory."""
    path = "multiNode.sharedMemory" if language.nodes > 1 else "resources.sharedMemory"
    size = f"{language.shared_memory_bytes // GIB}Gi"
    return DerivedValue(path, size, "for NCCL and messages between the engine's processes (assumed when packaged)")


def derive_weights(language: LanguageModel) -> Iterator[DerivedValue]:
    """Room for the weights, where the pod downloads them; its HOME is in /tmp."""
    if downloads(language):
        size, origin = -(-language.weights_bytes // GIB), "Gi of weights, which each pod downloads"
        yield DerivedValue("resources.temporary", f"{size + 1}Gi", f"1 Gi + {size} {origin}")
        yield DerivedValue("resources.ephemeralStorage", f"{size + 2}Gi", f"2 Gi + {size} {origin}")


def downloads(language: LanguageModel) -> bool:
    """Whether the engine downloads the weights from the hub."""
    return not language.weights.startswith("/")


def note_language_model(language: LanguageModel) -> Iterator[str]:
    """What the user must do for the pod to find the weights."""
    if downloads(language):
        yield (
            f"each pod downloads {language.weights_bytes / 1e9:.0f} GB of {language.weights} when it starts; a gated"
            " model needs HF_TOKEN (the chart's server.envFrom), and weights on a volume would start faster"
        )
    else:
        yield (
            f"the weights must be at {language.weights} in each pod: mount them with the chart's pod.volumes and"
            " pod.volumeMounts"
        )
    yield f"not verified: {language.not_verified}"
