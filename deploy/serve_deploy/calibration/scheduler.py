"""A model's scheduler as its configuration sets it, for the twin."""

from __future__ import annotations

from typing import Any

from serve_deploy.twin import Batching, QueuePolicy, ServedModel, ServiceTimes


def not_simulated(config: Any) -> str | None:
    """Why the twin cannot simulate this model; None where it can."""
    if config.WhichOneof("scheduling_choice") == "sequence_batching":
        return "sequence batching is not simulated"
    if config.model_transaction_policy.decoupled:
        return "decoupled models are not simulated"
    if config.WhichOneof("scheduling_choice") == "ensemble_scheduling":
        return "an ensemble has no scheduler of its own: its members do"
    return None


def read_served_model(config: Any, service: ServiceTimes, instances: int) -> ServedModel:
    """The model of a ModelConfig with its service times and as many instances as run; the response cache is off."""
    batching = config.dynamic_batching
    dynamic = config.WhichOneof("scheduling_choice") == "dynamic_batching"
    return ServedModel(
        name=config.name,
        service=service,
        max_batch_size=max(1, config.max_batch_size),
        instances=instances,
        batching=_read_batching(config) if dynamic else None,
        policy=_read_policy(batching.default_queue_policy),
        priority_levels=batching.priority_levels,
        default_priority=batching.default_priority_level or 1,
        policies={int(level): _read_policy(policy) for level, policy in batching.priority_queue_policy.items()},
    )


def _read_batching(config: Any) -> Batching:
    batching = config.dynamic_batching
    return Batching(
        max_queue_delay_seconds=batching.max_queue_delay_microseconds / 1e6,
        preferred_sizes=tuple(sorted(batching.preferred_batch_size)),
        variable_shapes=any(-1 in tensor.dims and not tensor.allow_ragged_batch for tensor in config.input),
    )


def _read_policy(policy: Any) -> QueuePolicy:
    return QueuePolicy(
        timeout_seconds=policy.default_timeout_microseconds / 1e6,
        timeout_action="delay" if policy.timeout_action == policy.DELAY else "reject",
        max_queue_size=policy.max_queue_size,
    )
