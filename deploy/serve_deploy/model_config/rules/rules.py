"""What Triton refuses in a configuration, and why; `package` never writes it and `check` explains it.

A rule is a function from a parsed config.pbtxt to its problems; to add one, write it and list it in RULES.
Sources: triton-inference-server/core, model_config_utils.cc; onnxruntime_backend, onnxruntime.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from serve_deploy.model_config.backend_names import check_platform
from serve_deploy.model_config.problem import Problem
from serve_deploy.model_config.rules.backends import (
    check_accelerators,
    check_batch_strategy,
    check_instances,
    check_parameters,
)
from serve_deploy.model_config.rules.batch_io import check_batch_inputs, check_batch_outputs
from serve_deploy.model_config.rules.ensembles import check_ensemble_fields, check_ensemble_flow
from serve_deploy.model_config.rules.frameworks import check_framework
from serve_deploy.model_config.rules.scheduling import (
    check_cache,
    check_ordering,
    check_preferred_batch_sizes,
    check_priorities,
)
from serve_deploy.model_config.rules.sequences import check_controls, check_states, check_strategy
from serve_deploy.model_config.rules.tensors import (
    check_formats,
    check_names,
    check_optional,
    check_reshapes,
    check_tensors,
)
from serve_deploy.model_config.rules.warmup import check_warmup

Rule = Callable[[Any], Iterator[Problem]]


def check_config(config: Any, folder_name: str | None = None) -> tuple[Problem, ...]:
    """Every rule that a parsed config.pbtxt breaks; `folder_name` is the model's folder, if it is in one."""
    return (*_check_name(config, folder_name), *(problem for rule in RULES for problem in rule(config)))


def _check_name(config: Any, folder_name: str | None) -> Iterator[Problem]:
    if folder_name is not None and config.name not in ("", folder_name):
        message = f"the name is '{config.name}', but the folder is '{folder_name}'"
        yield Problem("name", message, "write the folder's name, or remove the line")


def check_batch_size(config: Any) -> Iterator[Problem]:
    if config.max_batch_size < 0:
        yield Problem("max_batch_size", f"{config.max_batch_size} is negative", "write 0 (no batching) or more")


def check_version_policy(config: Any) -> Iterator[Problem]:
    policy = config.version_policy
    versions = {"latest": policy.latest.num_versions, "specific": policy.specific.versions}
    if not versions.get(policy.WhichOneof("policy_choice"), True):
        yield Problem("version_policy", "it serves no version", "remove it: Triton then serves the newest version")


RULES: tuple[Rule, ...] = (
    check_platform,
    check_batch_size,
    check_version_policy,
    check_names,
    check_tensors,
    check_reshapes,
    check_formats,
    check_optional,
    check_batch_inputs,
    check_batch_outputs,
    check_ensemble_fields,
    check_ensemble_flow,
    check_preferred_batch_sizes,
    check_priorities,
    check_ordering,
    check_cache,
    check_controls,
    check_strategy,
    check_states,
    check_instances,
    check_accelerators,
    check_parameters,
    check_batch_strategy,
    check_framework,
    check_warmup,
)
