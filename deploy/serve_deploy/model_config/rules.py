"""What Triton refuses in a configuration, and why; `package` never writes it and `check` explains it.

Sources: triton-inference-server/core, model_config_utils.cc; onnxruntime_backend, onnxruntime.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from serve_deploy.model_config.backend_rules import (
    check_accelerators,
    check_instances,
    check_parameters,
    check_warmup,
)
from serve_deploy.model_config.problem import Problem
from serve_deploy.model_config.scheduling_rules import check_cache, check_dynamic_batching, check_schedulers
from serve_deploy.model_config.tensor_rules import check_optional, check_tensors


def check_config(config: Any, folder_name: str | None = None) -> tuple[Problem, ...]:
    """Every rule that a parsed config.pbtxt breaks; `folder_name` is the model's folder, if it is in one."""
    return (*_check_name(config, folder_name), *(problem for rule in _RULES for problem in rule(config)))


def _check_name(config: Any, folder_name: str | None) -> Iterator[Problem]:
    if folder_name is not None and config.name not in ("", folder_name):
        yield Problem(
            "name",
            f"the configuration is called {config.name!r}, its folder {folder_name!r}",
            "write the folder's name, or leave 'name' out",
        )


def _check_batch_size(config: Any) -> Iterator[Problem]:
    if config.max_batch_size < 0:
        yield Problem("max_batch_size", f"{config.max_batch_size} is negative", "write 0 (no batching) or more")


def _check_version_policy(config: Any) -> Iterator[Problem]:
    policy = config.version_policy
    chosen = policy.WhichOneof("policy_choice")
    if (chosen == "latest" and not policy.latest.num_versions) or (
        chosen == "specific" and not policy.specific.versions
    ):
        yield Problem("version_policy", "it serves no version at all", "leave it out: the newest is then served")


_RULES: tuple[Callable[[Any], Iterator[Problem]], ...] = (
    _check_batch_size,
    _check_version_policy,
    check_tensors,
    check_optional,
    check_schedulers,
    check_dynamic_batching,
    check_cache,
    check_instances,
    check_accelerators,
    check_parameters,
    check_warmup,
)
