"""Rules on batching, queues, priorities, ensembles and the cache (core: ValidateModelConfig)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serve_deploy.model_config.ensemble_rules import check_ensemble_flow
from serve_deploy.model_config.problem import Problem


def check_schedulers(config: Any) -> Iterator[Problem]:
    # The three are one `oneof`, so that the parser keeps at most one; what is left is what each excludes.
    if config.HasField("ensemble_scheduling") and config.platform != "ensemble":
        yield Problem("platform", 'ensemble_scheduling needs platform: "ensemble"', 'write platform: "ensemble"')
    if config.platform == "ensemble":
        yield from _check_ensemble(config)


def _check_ensemble(config: Any) -> Iterator[Problem]:
    if not config.ensemble_scheduling.step:
        yield Problem("ensemble_scheduling.step", "an ensemble without steps", "list the models that it runs")
    for name in ("backend", "instance_group", "optimization", "model_warmup"):
        if any(field.name == name for field, _value in config.ListFields()):
            yield Problem(name, f"an ensemble has no {name}: its models have their own", f"remove {name}")
    yield from check_ensemble_flow(config)


def check_dynamic_batching(config: Any) -> Iterator[Problem]:
    batching = config.dynamic_batching
    for size in batching.preferred_batch_size:
        if not 0 < size <= config.max_batch_size:
            yield Problem(
                "dynamic_batching.preferred_batch_size",
                f"{size} is not within 1 … max_batch_size ({config.max_batch_size})",
                "leave it out: Triton then makes the largest batch that waits",
            )
    yield from _check_priorities(batching)
    policies = [batching.default_queue_policy, *batching.priority_queue_policy.values()]
    if batching.preserve_ordering and any(p.timeout_action == 1 and p.default_timeout_microseconds for p in policies):
        yield Problem(
            "dynamic_batching.default_queue_policy.timeout_action",
            "DELAY puts late requests behind others, which preserve_ordering forbids",
            "use REJECT, or drop preserve_ordering",
        )


def _check_priorities(batching: Any) -> Iterator[Problem]:
    levels = batching.priority_levels
    if batching.preserve_ordering and levels > 1:
        yield Problem(
            "dynamic_batching.priority_levels",
            f"preserve_ordering cannot hold with {levels} priority levels",
            "drop one of the two",
        )
    if levels and not 1 <= batching.default_priority_level <= levels:
        yield Problem(
            "dynamic_batching.default_priority_level",
            f"{batching.default_priority_level} is not within 1 … {levels}",
            f"write a level within 1 … {levels}; 1 is served first",
        )
    if levels and any(not 1 <= level <= levels for level in batching.priority_queue_policy):
        yield Problem(
            "dynamic_batching.priority_queue_policy",
            f"a queue policy for a level that is not within 1 … {levels}",
            f"use levels 1 … {levels}",
        )


def check_cache(config: Any) -> Iterator[Problem]:
    if not config.response_cache.enable:
        return
    if config.HasField("sequence_batching"):
        yield Problem("response_cache", "sequence batching cannot be cached", "disable the response cache")
    if config.model_transaction_policy.decoupled:
        yield Problem("response_cache", "decoupled models cannot be cached", "disable the response cache")
