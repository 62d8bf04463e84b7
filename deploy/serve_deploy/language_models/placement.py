"""How many GPUs a model needs, and how many tokens of KV cache they hold beside its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.gpu_profiles import PROFILES, GpuProfile, find_profile
from serve_deploy.language_models.memory import GIB, Group, ModelMemory
from serve_deploy.language_models.precision import Backend, explain_unsupported

# No group of more nodes is tried; and a context below this is none to serve.
MOST_NODES = 8
SHORTEST_CONTEXT = 2048
_STEP = 1024


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What an engine may take of a GPU: vLLM a share of all memory, TensorRT-LLM one of what is free for the cache."""

    backend: Backend
    memory_share: float
    sequences: int
    batched_tokens: int

    def cache_room(self, profile: GpuProfile, weights: int, other: int) -> int:
        """Bytes for the KV cache on one GPU; negative where not even the weights fit."""
        if self.backend == "vllm":
            return int(profile.usable_bytes * self.memory_share) - weights - other
        return int((profile.usable_bytes - weights - other) * self.memory_share)

    def describe_room(self, profile: GpuProfile, weights: int, other: int) -> str:
        """The arithmetic of `cache_room`, in words."""
        taken = f"{_gib(weights)} (weights) - {_gib(other)} (engine)"
        if self.backend == "vllm":
            return f"{self.memory_share:g} × {profile.usable_gib:g} GiB - {taken}"
        return f"{self.memory_share:g} × ({profile.usable_gib:g} GiB - {taken})"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What was asked for; None leaves it to be derived."""

    max_model_len: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    gpus_per_node: int | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A model on the GPUs of a profile; bytes are those of the fullest GPU, `cache_tokens` of all requests at once."""

    gpu: str
    group: Group
    nodes: int
    weights_bytes: int
    engine_bytes: int
    room_bytes: int
    max_model_len: int
    cache_tokens: int
    arithmetic: str
    shortened: bool = False

    @property
    def full_requests(self) -> float:
        """How many requests of `max_model_len` tokens the cache holds at once."""
        return self.cache_tokens / self.max_model_len


def place(memory: ModelMemory, engine: Engine, gpu: str, wishes: Wishes) -> Placement:
    """The fewest GPUs that hold the weights and one request of the context; InvalidModelError with the arithmetic.

    Where no node holds a whole context, the largest group of one node serves a shorter one, unless a length was asked
    for; only weights that no node holds go to several.
    """
    profile = find_profile(gpu)
    if reason := explain_unsupported(memory.precision, profile.compute_capability):
        raise InvalidModelError(f"{gpu}: {reason}", hint="`dtype=float16` serves it in the other 16 bits")
    wanted = _wanted_context(memory, wishes)
    groups = list(_groups(memory, profile, wishes))
    placed = [_fit(memory, engine, gpu, group, nodes, wanted) for group, nodes in groups]
    for several in (False, True):
        here = [each for each in placed if (each.nodes > 1) is several]
        whole = [each for each in here if each.cache_tokens >= wanted]
        if whole:
            return whole[0]
        shorter = [each for each in here if _shortest(memory) <= each.cache_tokens]
        if shorter and wishes.max_model_len is None:
            return _shorten(shorter[-1 if not several else 0])
    raise _refuse(memory, placed[-1], wanted)


def choose_gpu(memory: ModelMemory, engine: Engine, wishes: Wishes) -> Placement:
    """The placement with the fewest GPUs, then the smallest; InvalidModelError where no profile holds the model."""
    placements = [each for each in place_all(memory, engine, wishes).values() if isinstance(each, Placement)]
    common = [each for each in placements if PROFILES[each.gpu].architecture == "amd64"]
    if not common:
        return place(memory, engine, max(PROFILES, key=lambda name: PROFILES[name].usable_gib), wishes)
    return min(common, key=_cost)


def place_all(memory: ModelMemory, engine: Engine, wishes: Wishes) -> dict[str, Placement | InvalidModelError]:
    """Each profile with the model's placement, or why it does not fit."""
    found: dict[str, Placement | InvalidModelError] = {}
    for name in PROFILES:
        try:
            found[name] = place(memory, engine, name, wishes)
        except InvalidModelError as error:
            found[name] = error
    return found


def _cost(placement: Placement) -> tuple[bool, int, float, float]:
    profile = PROFILES[placement.gpu]
    return placement.shortened, placement.group.gpus, profile.usable_gib, -float(profile.compute_capability)


def _wanted_context(memory: ModelMemory, wishes: Wishes) -> int:
    longest = memory.architecture.context
    if wishes.max_model_len is None:
        return memory.architecture.usual_context
    if wishes.max_model_len > longest:
        raise UsageError(
            f"`max_model_len={wishes.max_model_len}`: {memory.architecture.name} has a context of {longest:,} tokens",
            hint="a longer one needs its scaling of positions in config.json",
        )
    return wishes.max_model_len


def _shortest(memory: ModelMemory) -> int:
    return min(SHORTEST_CONTEXT, memory.architecture.usual_context)


def _groups(memory: ModelMemory, profile: GpuProfile, wishes: Wishes) -> Iterator[tuple[Group, int]]:
    """The groups to try, with their nodes: one node first, the fewest GPUs first."""
    node = wishes.gpus_per_node or profile.node_gpus
    asked = wishes.tensor_parallel
    if asked is not None and (reason := memory.explain_unshardable(asked)):
        sizes = [size for size in (1, 2, 4, 8, 16) if memory.explain_unshardable(size) is None]
        raise UsageError(
            f"`tensor_parallel={asked}`: {reason}",
            hint=f"{memory.architecture.name} allows {', '.join(map(str, sizes))}",
        )
    powers = [size for size in (1, 2, 4, 8, 16) if size <= node and memory.explain_unshardable(size) is None]
    sizes = [asked] if asked else powers
    stages = [wishes.pipeline_parallel] if wishes.pipeline_parallel else range(1, MOST_NODES + 1)
    for stage_count in stages:
        # Several nodes share a model by stages; within a node all GPUs share each layer.
        for size in sizes if stage_count == 1 or asked or wishes.pipeline_parallel else sizes[-1:]:
            nodes = -(-size * stage_count // node)
            if nodes <= MOST_NODES and stage_count <= memory.architecture.layers:
                yield Group(size, stage_count), nodes


def _fit(memory: ModelMemory, engine: Engine, gpu: str, group: Group, nodes: int, wanted: int) -> Placement:
    profile = PROFILES[gpu]
    weights = memory.weights_on_gpu(group)
    other = memory.engine_bytes(group, sequences=engine.sequences, batched_tokens=engine.batched_tokens)
    room = engine.cache_room(profile, weights, other)
    return Placement(
        gpu=gpu,
        group=group,
        nodes=nodes,
        weights_bytes=weights,
        engine_bytes=other,
        room_bytes=room,
        max_model_len=wanted,
        cache_tokens=_count_tokens(memory, group, room, wanted),
        arithmetic=engine.describe_room(profile, weights, other),
    )


def _count_tokens(memory: ModelMemory, group: Group, room: int, context: int) -> int:
    """Tokens of full-context requests that the room holds, or of the longest one where it holds not even one."""
    if room <= 0:
        return 0
    one = memory.cache_on_gpu(context, group)
    if room >= one:
        return int(room / one * context)
    low, high = 0, context
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if memory.cache_on_gpu(middle, group) <= room else (low, middle - 1)
    return low


def _shorten(placement: Placement) -> Placement:
    tokens = placement.cache_tokens
    return replace(placement, max_model_len=tokens // _STEP * _STEP if tokens >= _STEP else tokens, shortened=True)


def _refuse(memory: ModelMemory, largest: Placement, wanted: int) -> InvalidModelError:
    """The arithmetic of the largest group that was tried, and what would fit."""
    group, a = largest.group, memory.architecture
    said = f"{group.gpus} {largest.gpu}" + (f" on {largest.nodes} nodes" if largest.nodes > 1 else "")
    sum_ = f"on the fullest of {said}, {largest.arithmetic} = {_gib(largest.room_bytes)}"
    if largest.room_bytes <= 0:
        message = f"{a.name} has {memory.weights_bytes / 1e9:.1f} GB of weights, which do not fit: {sum_}"
    else:
        need = _gib(memory.cache_on_gpu(wanted, group))
        message = f"one request of {wanted:,} tokens takes {need} of KV cache, which does not fit: {sum_}"
    return InvalidModelError(message, hint=_advise(memory, largest))


def _advise(memory: ModelMemory, largest: Placement) -> str:
    steps = []
    if largest.cache_tokens >= _shortest(memory):
        steps.append(f"`max_model_len={largest.cache_tokens // _STEP * _STEP}` would fit")
    if memory.precision.cache_dtype == "auto" and largest.room_bytes > 0:
        steps.append("`kv_cache_dtype=fp8` halves the cache")
    steps.append("take a GPU with more memory, or more of them")
    if not memory.precision.quantization:
        steps.append("a quantised checkpoint has smaller weights")
    return "; ".join(steps)


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
