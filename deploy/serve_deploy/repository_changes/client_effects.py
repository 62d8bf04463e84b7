"""What a change means for the clients of a model. Pure.

Breaking is what a client that works now can run into: an error, or an answer that it does not expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serve_deploy.repository_changes.change import ClientEffect
from serve_deploy.tensors.types import TensorSpec


@dataclass(frozen=True)
class ClientView:
    """A model as its clients see it; `inputs` and `outputs` are None where only Triton would find them out.

    `max_batch_size` is 0 where the model does not batch; `versions` are those that are served, the newest last.
    """

    inputs: tuple[TensorSpec, ...] | None
    outputs: tuple[TensorSpec, ...] | None
    max_batch_size: int
    is_decoupled: bool
    is_sequence: bool
    versions: tuple[int, ...]
    pins_versions: bool
    labels: Mapping[str, tuple[str, ...]]
    max_queue_size: int = 0
    is_cached: bool = False
    sequence_idle_us: int = 0


def list_effects(old: ClientView, new: ClientView) -> tuple[ClientEffect, ...]:
    """Everything that clients of the old model notice of the new one, what breaks them first."""
    effects = [
        *_compare_inputs(old.inputs or (), new.inputs or ()),
        *_compare_outputs(old.outputs or (), new.outputs or ()),
        *_compare_batches(old, new),
        *_compare_labels(old.labels, new.labels),
        *_compare_protocol(old, new),
        *_compare_versions(old, new),
        *_compare_queues(old, new),
    ]
    return tuple(sorted(effects, key=lambda effect: not effect.breaking))


def _breaks(field: str, message: str) -> ClientEffect:
    return ClientEffect(True, field, message)


def _notice(field: str, message: str) -> ClientEffect:
    return ClientEffect(False, field, message)


def _write(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _compare_inputs(old: Sequence[TensorSpec], new: Sequence[TensorSpec]) -> Iterator[ClientEffect]:
    before, after = ({tensor.name: tensor for tensor in tensors} for tensors in (old, new))
    for name in before.keys() - after.keys():
        yield _breaks(f"input {name}", "is not taken any more")
    for name, tensor in after.items():
        was = before.get(name)
        if was is None and old:
            yield (_notice if tensor.optional else _breaks)(
                f"input {name}", f"is new{', and optional' if tensor.optional else ', and every request must have it'}"
            )
        elif was is not None:
            yield from _compare_types(f"input {name}", was, tensor)
            yield from _compare_shapes(f"input {name}", was, tensor, takes=tensor, given=was)
            if was.optional and not tensor.optional:
                yield _breaks(f"input {name}", "is not optional any more")


def _compare_outputs(old: Sequence[TensorSpec], new: Sequence[TensorSpec]) -> Iterator[ClientEffect]:
    before, after = ({tensor.name: tensor for tensor in tensors} for tensors in (old, new))
    for name in before.keys() - after.keys():
        yield _breaks(f"output {name}", "is not returned any more")
    for name, tensor in after.items():
        was = before.get(name)
        if was is None and old:
            yield _notice(f"output {name}", "is new")
        elif was is not None:
            yield from _compare_types(f"output {name}", was, tensor)
            yield from _compare_shapes(f"output {name}", was, tensor, takes=was, given=tensor)


def _compare_types(field: str, old: TensorSpec, new: TensorSpec) -> Iterator[ClientEffect]:
    if old.data_type != new.data_type:
        yield _breaks(field, f"is {new.data_type.value}, not {old.data_type.value}")


def _compare_shapes(
    field: str, old: TensorSpec, new: TensorSpec, *, takes: TensorSpec, given: TensorSpec
) -> Iterator[ClientEffect]:
    """Whoever takes a shape must go on taking all that may be given."""
    if old.shape == new.shape:
        return
    fits = len(takes.shape) == len(given.shape) and all(
        dim in (-1, size) for dim, size in zip(takes.shape, given.shape, strict=True)
    )
    message = f"has the shape {_write(new.shape)}, not {_write(old.shape)}"
    yield _notice(field, f"{message}, which takes all that it took") if fits else _breaks(field, message)


def _compare_batches(old: ClientView, new: ClientView) -> Iterator[ClientEffect]:
    if old.max_batch_size == new.max_batch_size:
        return
    # A model that does not batch but has a free first dim takes any number of rows.
    if new.max_batch_size and (new.max_batch_size < old.max_batch_size or _is_free(old)):
        yield _breaks("max_batch_size", f"requests of more than {new.max_batch_size} rows are refused")
    elif new.max_batch_size and old.max_batch_size:
        yield _notice("max_batch_size", f"requests may have {new.max_batch_size} rows, not {old.max_batch_size}")


def _is_free(view: ClientView) -> bool:
    inputs = view.inputs or ()
    return not view.max_batch_size and bool(inputs) and all(tensor.shape[:1] == (-1,) for tensor in inputs)


def _compare_labels(old: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]) -> Iterator[ClientEffect]:
    for output in sorted(old.keys() | new.keys()):
        before, after = old.get(output, ()), new.get(output, ())
        other = [index for index, label in enumerate(before) if label != (after[index] if index < len(after) else None)]
        if before and not after:
            yield _breaks(f"output {output}", "has no labels any more")
        elif other:
            first = other[0]
            now = f"'{after[first]}'" if first < len(after) else "without a label"
            count = f"{len(other)} of {len(before)} classes have another label"
            yield _breaks(f"output {output}", f"{count}: index {first} is {now}, not '{before[first]}'")
        elif len(after) > len(before):
            yield _notice(f"output {output}", f"has {len(after) - len(before)} more labels")


def _compare_protocol(old: ClientView, new: ClientView) -> Iterator[ClientEffect]:
    if new.is_decoupled and not old.is_decoupled:
        yield _breaks("decoupled", "it answers a request any number of times: only gRPC streams can ask it")
    elif old.is_decoupled and not new.is_decoupled:
        yield _breaks("decoupled", "it answers a request exactly once, not as a stream of responses")
    if new.is_sequence and not old.is_sequence:
        yield _breaks("sequence_batching", "every request must have a sequence ID")
    elif old.is_sequence and not new.is_sequence:
        yield _breaks("sequence_batching", "it keeps no state between the requests of a sequence")
    elif old.is_sequence and new.sequence_idle_us < old.sequence_idle_us:
        now, before = new.sequence_idle_us / 1e6, old.sequence_idle_us / 1e6
        yield _breaks("sequence_batching", f"a sequence ends after {now:g} s without a request, not {before:g} s")


def _compare_versions(old: ClientView, new: ClientView) -> Iterator[ClientEffect]:
    gone = sorted(set(old.versions) - set(new.versions))
    if gone:
        listed = f"version{'s' if len(gone) > 1 else ''} {', '.join(map(str, gone))}"
        message = f"{listed} {'are' if len(gone) > 1 else 'is'} not served any more: a request that names one gets 404"
        # Where the newest version alone is served, each new one takes the place of the one before.
        yield (_breaks if old.pins_versions else _notice)("versions", message)
    if old.versions and new.versions and old.versions[-1] != new.versions[-1]:
        yield _notice("versions", f"requests without a version get version {new.versions[-1]}, not {old.versions[-1]}")


def _compare_queues(old: ClientView, new: ClientView) -> Iterator[ClientEffect]:
    if new.max_queue_size and not 0 < old.max_queue_size <= new.max_queue_size:
        yield _notice("max_queue_size", f"with {new.max_queue_size} requests waiting, further ones are refused (503)")
    if new.is_cached and not old.is_cached:
        yield _notice("response_cache", "equal requests may be answered from the cache")
