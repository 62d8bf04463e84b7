"""Decide how a language model is served: its GPUs, the engine's arguments, and why each is what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from serve_deploy.errors import InvalidModelError
from serve_deploy.gpu_profiles import PROFILES
from serve_deploy.language_models.architecture import Architecture, read_architecture
from serve_deploy.language_models.checkpoint import Checkpoint
from serve_deploy.language_models.engine_arguments import EngineArgument, note_unknown
from serve_deploy.language_models.memory import ModelMemory
from serve_deploy.language_models.placement import Engine, Placement, Wishes, choose_gpu, place, place_all
from serve_deploy.language_models.precision import Backend, note_emulated, read_precision
from serve_deploy.packaging.options import LanguageModelOptions

MEMORY_SHARE = 0.9
SEQUENCES, BATCHED_TOKENS = 256, 8192
_SHARE_NAMES = {"vllm": "gpu_memory_utilization", "tensorrtllm": "kv_cache_config.free_gpu_memory_fraction"}
_TOKENS_NAMES = {"vllm": "max_num_batched_tokens", "tensorrtllm": "max_num_tokens"}


@dataclass(frozen=True)
class LanguagePlan:
    """A model, the placement that was chosen, every profile's, and the engine's arguments with their reasons."""

    memory: ModelMemory
    engine: Engine
    placement: Placement
    fits: dict[str, Placement | InvalidModelError]
    arguments: tuple[EngineArgument, ...]
    notes: tuple[str, ...]


def plan_language_model(
    checkpoint: Checkpoint, weights: str, backend: Backend, options: LanguageModelOptions
) -> LanguagePlan:
    """Place the model; InvalidModelError with the arithmetic where it does not fit."""
    memory = _measure(checkpoint, backend, options)
    engine = _engine(backend, options)
    wishes = Wishes(
        max_model_len=options.max_model_len,
        tensor_parallel=options.tensor_parallel,
        pipeline_parallel=options.pipeline_parallel,
        gpus_per_node=options.gpus_per_node,
    )
    placement = _place(memory, engine, options.gpu_profile, wishes)
    arguments = tuple(_arguments(memory, engine, placement, weights, options))
    notes = (
        *_note_checkpoint(checkpoint, memory, placement, options),
        *_note_fewer(memory, engine, placement, wishes),
        *note_unknown(backend, (argument.name for argument in options.engine_arguments)),
    )
    return LanguagePlan(memory, engine, placement, place_all(memory, engine, wishes), arguments, notes)


def _measure(checkpoint: Checkpoint, backend: Backend, options: LanguageModelOptions) -> ModelMemory:
    precision = read_precision(
        checkpoint.config,
        backend,
        dtype=options.dtype,
        quantization=options.quantization,
        cache_dtype=options.kv_cache_dtype,
        modelopt=checkpoint.modelopt,
    )
    architecture = _limit_context(read_architecture(checkpoint.config), checkpoint)
    memory = ModelMemory(architecture, precision, checkpoint.measured_bytes)
    _ = memory.weights_bytes  # or it is refused here, before anything else is said of it
    return memory


def _engine(backend: Backend, options: LanguageModelOptions) -> Engine:
    given = {argument.name: argument.value for argument in options.engine_arguments}
    share, tokens = given.get(_SHARE_NAMES[backend], MEMORY_SHARE), given.get(_TOKENS_NAMES[backend], BATCHED_TOKENS)
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise InvalidModelError(f"{_SHARE_NAMES[backend]} is {share}", hint="it is a share: above 0, at most 1")
    if not isinstance(tokens, int) or tokens < 1:
        raise InvalidModelError(f"{_TOKENS_NAMES[backend]} is {tokens}", hint="it is a number of tokens")
    sequences = options.max_num_seqs or SEQUENCES
    return Engine(backend=backend, memory_share=share, sequences=sequences, batched_tokens=max(tokens, sequences))


def _place(memory: ModelMemory, engine: Engine, gpu: str | None, wishes: Wishes) -> Placement:
    """On the GPU that was asked for; where it does not fit, the hint says on which it would."""
    if gpu is None:
        return choose_gpu(memory, engine, wishes)
    try:
        return place(memory, engine, gpu, wishes)
    except InvalidModelError as error:
        try:
            other = choose_gpu(memory, engine, wishes)
        except InvalidModelError:
            raise error from None
        would = f"{other.group.gpus} {other.gpu} would hold it: `gpu_profile={other.gpu}`"
        raise InvalidModelError(error.message, hint=f"{error.hint}; {would}" if error.hint else would) from error


def _limit_context(architecture: Architecture, checkpoint: Checkpoint) -> Architecture:
    """vLLM also keeps to the tokenizer's own limit, where that is below the context."""
    limit = checkpoint.tokenizer.get("model_max_length")
    if not isinstance(limit, int | float) or not 0 < limit < architecture.context:
        return architecture
    usual = min(int(limit), architecture.usual_context)
    origin = "model_max_length in tokenizer_config.json"
    return replace(architecture, context=int(limit), usual_context=usual, context_origin=origin)


def _arguments(
    memory: ModelMemory, engine: Engine, placement: Placement, weights: str, options: LanguageModelOptions
) -> Iterator[EngineArgument]:
    """The engine's arguments; those that were given replace the derived ones of that name."""
    given = {argument.name: argument for argument in options.engine_arguments}
    derive = _vllm_arguments if engine.backend == "vllm" else _tensorrt_llm_arguments
    for argument in derive(memory, engine, placement, weights, options):
        yield given.pop(argument.name, argument)
    yield from given.values()


def _vllm_arguments(
    memory: ModelMemory, engine: Engine, placement: Placement, weights: str, options: LanguageModelOptions
) -> Iterator[EngineArgument]:
    precision, group = memory.precision, placement.group
    yield EngineArgument("model", weights, "where the server finds the weights")
    yield EngineArgument("dtype", precision.dtype, precision.dtype_origin)
    if options.quantization and precision.quantization_origin.startswith("chosen"):
        yield EngineArgument("quantization", precision.quantization, precision.quantization_origin)
    yield EngineArgument("tensor_parallel_size", group.tensor_parallel, _explain_tensor_parallel(placement, options))
    if group.pipeline_parallel > 1:
        yield EngineArgument("pipeline_parallel_size", group.pipeline_parallel, _explain_stages(placement, options))
    if placement.nodes > 1:
        yield EngineArgument("distributed_executor_backend", "ray", "Ray joins the nodes of the group")
    yield EngineArgument("max_model_len", placement.max_model_len, _explain_length(memory, placement, options))
    share = "vLLM's share of each GPU; its own default, 0.92, was 0.9"
    yield EngineArgument("gpu_memory_utilization", engine.memory_share, share)
    yield from _limits(("max_num_seqs", "max_num_batched_tokens"), engine, options)
    if precision.cache_dtype != "auto":
        yield EngineArgument("kv_cache_dtype", precision.cache_dtype, "chosen by the user: one byte a number")
    if options.lora:
        yield EngineArgument("enable_lora", True, "for the adapters in multi_lora.json")
        yield EngineArgument("max_loras", len(options.lora), "adapters that one step may use: all of them")


def _tensorrt_llm_arguments(
    memory: ModelMemory, engine: Engine, placement: Placement, weights: str, options: LanguageModelOptions
) -> Iterator[EngineArgument]:
    precision, group = memory.precision, placement.group
    yield EngineArgument("model", weights, "where the server finds the weights")
    yield EngineArgument("backend", "pytorch", "serves the checkpoint as it is, without building an engine")
    yield EngineArgument("dtype", precision.dtype, precision.dtype_origin)
    yield EngineArgument("tensor_parallel_size", group.tensor_parallel, _explain_tensor_parallel(placement, options))
    if group.pipeline_parallel > 1:
        yield EngineArgument("pipeline_parallel_size", group.pipeline_parallel, _explain_stages(placement, options))
    if placement.nodes > 1:
        yield EngineArgument("gpus_per_node", group.gpus // placement.nodes, "GPUs of each node of the group")
    yield EngineArgument("max_seq_len", placement.max_model_len, _explain_length(memory, placement, options))
    yield from _limits(("max_batch_size", "max_num_tokens"), engine, options)
    if placement.max_model_len > engine.batched_tokens:
        long = f"prompts longer than max_num_tokens ({engine.batched_tokens:,}) would be refused"
        yield EngineArgument("enable_chunked_prefill", True, long)
    share = "the KV cache's share of what weights and activations leave: its default"
    yield EngineArgument("kv_cache_config.free_gpu_memory_fraction", engine.memory_share, share)
    if precision.cache_dtype != "auto":
        yield EngineArgument("kv_cache_config.dtype", precision.cache_dtype, "chosen by the user: one byte a number")
    yield EngineArgument("triton_config.max_batch_size", 0, "model.py takes no batches: the engine makes its own")
    yield EngineArgument("triton_config.decoupled", True, "without it model.py refuses to stream")


def _limits(names: tuple[str, str], engine: Engine, options: LanguageModelOptions) -> Iterator[EngineArgument]:
    chosen = "chosen by the user" if options.max_num_seqs else "its own default differs by GPU"
    yield EngineArgument(names[0], engine.sequences, f"requests in a step: {chosen}")
    yield EngineArgument(names[1], engine.batched_tokens, "tokens in a step, on which the activations depend")


def _explain_tensor_parallel(placement: Placement, options: LanguageModelOptions) -> str:
    if options.tensor_parallel:
        return "chosen by the user"
    if placement.shortened:
        return "as many as a node has and the model's heads allow"
    if placement.nodes > 1:
        return "all GPUs of a node that the model's heads allow, since one node does not hold the model"
    return "the fewest GPUs that hold weights and a whole request"


def _explain_stages(placement: Placement, options: LanguageModelOptions) -> str:
    if options.pipeline_parallel:
        return "chosen by the user"
    return f"a stage on each of {placement.nodes} nodes, the fewest that hold the model"


def _explain_length(memory: ModelMemory, placement: Placement, options: LanguageModelOptions) -> str:
    if options.max_model_len:
        return "chosen by the user"
    if placement.shortened:
        return f"what the KV cache holds, in steps of 1,024; the model's context is {memory.architecture.context:,}"
    return f"the context: {memory.architecture.context_origin}"


def _note_checkpoint(
    checkpoint: Checkpoint, memory: ModelMemory, placement: Placement, options: LanguageModelOptions
) -> Iterator[str]:
    architecture, capability = memory.architecture, PROFILES[placement.gpu].compute_capability
    if architecture.encoder and not memory.is_measured:
        yield (
            f"config.json has a {architecture.encoder}: its weights are not counted, because their number is not"
            " derived here; give the folder with the weights' files to count them"
        )
    if architecture.family is None:
        yield f"the family '{architecture.model_type}' is not known: its KV cache is taken for a plain decoder's"
    if checkpoint.left_out_bytes:
        yield (
            f"{checkpoint.left_out_bytes / 1e9:.1f} GB of the files predict further tokens (layers after the last);"
            " they are not counted, and not loaded without speculative decoding"
        )
    if note := note_emulated(memory.precision, capability):
        yield f"{placement.gpu}: {note}"
    if limit := checkpoint.generation.get("max_new_tokens"):
        yield f"generation_config.json ends answers after {limit:,} tokens where a request does not say max_tokens"
    if options.lora:
        yield "the adapters' memory is not counted"


def _note_fewer(memory: ModelMemory, engine: Engine, placement: Placement, wishes: Wishes) -> Iterator[str]:
    """How much shorter a context would fit on fewer GPUs."""
    if wishes.max_model_len or wishes.tensor_parallel or wishes.pipeline_parallel or placement.group.gpus == 1:
        return
    for size in (1, 2, 4):
        if size >= placement.group.tensor_parallel or memory.explain_unshardable(size):
            continue
        fewer = Wishes(tensor_parallel=size, pipeline_parallel=1)
        try:
            shorter = place(memory, engine, placement.gpu, fewer)
        except InvalidModelError:
            continue
        yield (
            f"{size} {placement.gpu} would hold requests of {shorter.max_model_len:,} tokens:"
            f" `max_model_len={shorter.max_model_len}`"
        )
        return
