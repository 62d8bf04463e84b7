"""What a user may decide about a model's configuration; all else is derived from the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_deploy.errors import UsageError

InstanceKind = Literal["cpu", "gpu"]
TimeoutAction = Literal["reject", "delay"]


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions Triton serves: the newest `latest`, or exactly `specific`, or with neither all of them."""

    latest: int | None = None
    specific: tuple[int, ...] = ()

    def serves(self, version: int, existing: tuple[int, ...]) -> bool:
        """Whether Triton would serve `version` beside the `existing` ones."""
        if self.specific:
            return version in self.specific
        if self.latest is None:
            return True
        return version in sorted({*existing, version}, reverse=True)[: self.latest]


def parse_version_policy(text: str) -> VersionPolicy:
    """Read `all`, `latest:2` or `specific:1,3`; UsageError for anything else."""
    if text == "all":
        return VersionPolicy()
    if match := re.fullmatch(r"latest:([1-9][0-9]*)", text):
        return VersionPolicy(latest=int(match[1]))
    if match := re.fullmatch(r"specific:([1-9][0-9]*(?:,[1-9][0-9]*)*)", text):
        return VersionPolicy(specific=tuple(sorted({int(version) for version in match[1].split(",")})))
    raise UsageError(
        f"`version_policy={text}` is not a version policy of Triton's", hint="use all, latest:2 or specific:1,3"
    )


@dataclass(frozen=True, kw_only=True)
class QueuePolicy:
    """How long requests may wait for a batch, and how many of them; 0 is without limit."""

    timeout_action: TimeoutAction = "reject"
    default_timeout_us: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0


@dataclass(frozen=True)
class Optimization:
    """An execution accelerator of Triton's ONNX Runtime backend, with the keys that Triton passes on to it."""

    accelerator: Literal["tensorrt", "openvino"]
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WarmupInput:
    """One input of a warm-up request: Triton's wire bytes of a single sample, dims without the batch axis."""

    name: str
    config_type: str
    dims: tuple[int, ...]
    file_name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """Everything about a configuration that does not follow from the model's signature; 0 and None leave it out."""

    name: str = ""
    max_queue_delay_us: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()
    instances: int = 1
    kind: InstanceKind | None = None
    gpus: tuple[int, ...] = ()
    threads: int | None = None
    parallel_threads: int | None = None
    label_files: Mapping[str, str] = field(default_factory=dict)
    warmup: tuple[WarmupInput, ...] = ()
    warmup_batch_sizes: tuple[int, ...] = (1,)
    optimization: Optimization | None = None
    queue_policy: QueuePolicy | None = None
    priority_levels: int = 0
    default_priority_level: int = 0
    preserve_ordering: bool = False
    response_cache: bool = False
    version_policy: VersionPolicy | None = None
