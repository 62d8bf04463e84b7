"""Rules on batching, queues, priorities and the cache (core: ValidateModelConfig)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.problem import Problem

_BATCHING = "dynamic_batching"


def check_preferred_batch_sizes(config: Any) -> Iterator[Problem]:
    for size in config.dynamic_batching.preferred_batch_size:
        if not 0 < size <= config.max_batch_size:
            yield Problem(
                f"{_BATCHING}.preferred_batch_size",
                f"{size} is not between 1 and max_batch_size ({config.max_batch_size})",
                "leave it out: Triton then batches as many waiting requests as it can",
            )


def check_ordering(config: Any) -> Iterator[Problem]:
    batching = config.dynamic_batching
    if not batching.preserve_ordering:
        return
    if batching.priority_levels > 1:
        message = f"preserve_ordering does not work with {batching.priority_levels} priority levels"
        yield Problem(f"{_BATCHING}.priority_levels", message, "remove one of the two")
    policies = (batching.default_queue_policy, *batching.priority_queue_policy.values())
    if any(policy.timeout_action == 1 and policy.default_timeout_microseconds for policy in policies):
        yield Problem(
            f"{_BATCHING}.default_queue_policy.timeout_action",
            "DELAY moves late requests behind others, which preserve_ordering forbids",
            "use REJECT, or remove preserve_ordering",
        )


def check_priorities(config: Any) -> Iterator[Problem]:
    batching, levels = config.dynamic_batching, config.dynamic_batching.priority_levels
    if not levels:
        return
    if not 1 <= batching.default_priority_level <= levels:
        message = f"{batching.default_priority_level} is not between 1 and {levels}"
        fix = f"write a level from 1 to {levels}; 1 is served first"
        yield Problem(f"{_BATCHING}.default_priority_level", message, fix)
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            message = f"a queue policy for level {level}, which is not between 1 and {levels}"
            yield Problem(f"{_BATCHING}.priority_queue_policy", message, f"use levels 1 to {levels}")


def check_cache(config: Any) -> Iterator[Problem]:
    excluded = (
        (config.HasField("sequence_batching"), "models with sequence batching"),
        (config.model_transaction_policy.decoupled, "decoupled models"),
    )
    for present, what in excluded:
        if config.response_cache.enable and present:
            yield Problem("response_cache", f"Triton cannot cache {what}", "disable the response cache")
