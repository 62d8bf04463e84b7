"""What the manifest records of a language model: each fact with its reason, and what every GPU would hold of it."""

from __future__ import annotations

from collections.abc import Iterator

from serve_deploy.errors import InvalidModelError
from serve_deploy.language_models.architecture import Architecture
from serve_deploy.language_models.checkpoint import Checkpoint
from serve_deploy.language_models.engine_arguments import ENGINE_NAMES
from serve_deploy.language_models.memory import GIB, ModelMemory
from serve_deploy.language_models.placement import Placement
from serve_deploy.language_models.precision import Precision
from serve_deploy.manifest import GpuFit, LanguageModel, ReasonedValue
from serve_deploy.packaging.language_models.plan import LanguagePlan
from serve_deploy.packaging.options import LanguageModelOptions, PackageOptions

# Assumed, not measured: how fast weights arrive, and how long an engine compiles and captures graphs.
WEIGHTS_BYTES_PER_SECOND = 200e6
ENGINE_START_SECONDS = 120.0
SHARED_BYTES, SHARED_BYTES_A_GPU = GIB, GIB
GROUP_SHARED_BYTES = 16 * GIB
HOST_BYTES, HOST_BYTES_A_GPU = 4 * GIB, 4 * GIB


def describe_language_model(checkpoint: Checkpoint, plan: LanguagePlan, options: PackageOptions) -> LanguageModel:
    """The section of the manifest."""
    memory, placement, engine = plan.memory, plan.placement, plan.engine
    gpus = placement.group.gpus // placement.nodes
    model = LanguageModel(
        backend=engine.backend,
        weights=str(plan.arguments[0].value),
        architecture=memory.architecture.name,
        parameters=memory.parameters.total if memory.parameters else None,
        weights_bytes=memory.weights_bytes,
        weights_are_measured=memory.is_measured,
        cache_bytes_per_token=memory.cache_bytes_per_token,
        context_tokens=memory.architecture.context,
        gpu=placement.gpu,
        tensor_parallel=placement.group.tensor_parallel,
        pipeline_parallel=placement.group.pipeline_parallel,
        nodes=placement.nodes,
        max_model_len=placement.max_model_len,
        cache_tokens=placement.cache_tokens,
        shared_memory_bytes=max(
            SHARED_BYTES + SHARED_BYTES_A_GPU * gpus, GROUP_SHARED_BYTES if placement.nodes > 1 else 0
        ),
        host_memory_bytes=HOST_BYTES + HOST_BYTES_A_GPU * gpus,
        load_seconds=round(memory.weights_bytes / WEIGHTS_BYTES_PER_SECOND + ENGINE_START_SECONDS, 1),
        arguments=tuple(ReasonedValue(name=a.name, value=a.value, reason=a.reason) for a in plan.arguments),
        fits=tuple(_describe_fit(gpu, found) for gpu, found in plan.fits.items()),
        not_verified=(
            f"{ENGINE_NAMES[engine.backend]} needs a GPU, and this machine's Triton does not have it, so nothing was"
            " loaded; the numbers are arithmetic"
        ),
    )
    facts = _facts(checkpoint, plan, options.language_model, model)
    return model.model_copy(update={"facts": tuple(facts)})


def _facts(
    checkpoint: Checkpoint, plan: LanguagePlan, options: LanguageModelOptions, model: LanguageModel
) -> Iterator[ReasonedValue]:
    memory, placement = plan.memory, plan.placement
    architecture, precision = memory.architecture, memory.precision
    yield _fact("architecture", architecture.name, _shape(architecture))
    if memory.parameters:
        yield _fact("parameters", f"{memory.parameters.total:,}", "computed from config.json")
    stored = _stored(precision)
    origin = checkpoint.weights_origin if memory.is_measured else "computed: no weights' files here"
    yield _fact("weights", f"{memory.weights_bytes / 1e9:.2f} GB", f"{stored}; {origin}")
    yield _fact("context", f"{architecture.usual_context:,} tokens", architecture.context_origin)
    yield _fact("KV cache", f"{memory.cache_bytes_per_token / 1024:.4g} KiB a token", _cache(memory))
    yield _fact("GPUs", _gpus(placement), _why_gpu(options))
    room = f"{placement.room_bytes / GIB:.1f} GiB"
    yield _fact("room for it", f"{placement.cache_tokens:,} tokens", f"{room} = {placement.arithmetic}")
    requests = f"{placement.full_requests:.1f} at once"
    yield _fact("whole requests", requests, f"of {placement.max_model_len:,} tokens; shorter ones are more")
    each = "1 GiB, and 1 GiB for each GPU of a node (assumed)"
    if placement.nodes > 1:
        each = "at least 16 GiB where NCCL joins nodes (assumed)"
    yield _fact("shared memory", f"{model.shared_memory_bytes // GIB} GiB", each)
    host = "4 GiB, and 4 GiB for each GPU of a node (assumed)"
    yield _fact("host memory", f"{model.host_memory_bytes // GIB} GiB", host)
    read = f"{memory.weights_bytes / 1e9:.1f} GB at 200 MB/s, and 120 s for the engine (both assumed)"
    yield _fact("start", f"{model.load_seconds:.0f} s", read)


def _fact(name: str, value: str, reason: str) -> ReasonedValue:
    return ReasonedValue(name=name, value=value, reason=reason)


def _stored(precision: Precision) -> str:
    if not precision.quantization:
        return precision.dtype
    size = f"{precision.weight_bytes:.2f}".removesuffix(".00")
    return f"{precision.quantization} with {size} byte{'s' * (size != '1')} a weight, the rest {precision.dtype}"


def _shape(a: Architecture) -> str:
    heads = "latent attention" if a.latent else f"{a.kv_heads} KV heads of {a.head_dim}"
    experts = f", {a.experts.count} experts of which a token takes {a.experts.per_token}" if a.experts else ""
    return f"{a.layers} layers, {a.heads} heads, {heads}{experts}"


def _cache(memory: ModelMemory) -> str:
    a, size = memory.architecture, memory.precision.cache_bytes
    if a.latent:
        return f"{a.layers} layers × ({a.latent.kv_rank} + {a.latent.rope_dim}) × {size} bytes, on every GPU"
    said = f"2 × {a.layers} layers × {a.kv_heads} heads × {a.head_dim} × {size} bytes"
    if a.windowed_layers:
        said += f"; {a.windowed_layers} layers keep only the last {a.window:,} tokens"
    return said


def _gpus(placement: Placement) -> str:
    several = f" on {placement.nodes} nodes" if placement.nodes > 1 else ""
    return f"{placement.group.gpus} {placement.gpu}{several}"


def _why_gpu(options: LanguageModelOptions) -> str:
    if options.gpu_profile is None:
        return "the fewest GPUs, and of these the smallest, that hold it; `gpu_profile` chooses"
    return "chosen by the user, as many as it takes" if not options.tensor_parallel else "chosen by the user"


def _describe_fit(gpu: str, found: Placement | InvalidModelError) -> GpuFit:
    if isinstance(found, InvalidModelError):
        return GpuFit(gpu=gpu, fits=False, reason=found.message.removeprefix(f"{gpu}: "))
    return GpuFit(
        gpu=gpu,
        fits=True,
        gpus=found.group.gpus,
        nodes=found.nodes,
        max_model_len=found.max_model_len,
        cache_tokens=found.cache_tokens,
        weights_bytes=found.weights_bytes,
        engine_bytes=found.engine_bytes,
        cache_bytes=found.room_bytes,
    )
