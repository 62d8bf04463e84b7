"""What is simulated: a server's models, how Triton schedules them, and what a request costs outside of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from serve_deploy.arrivals.shapes import LoadShape
from serve_deploy.twin.times import ServiceTimes, Times


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Triton's `dynamic_batching`. Without preferred sizes Triton prefers `max_batch_size`.

    `variable_shapes`: an input has a free dimension, so that Triton looks at its queue on every arrival.
    """

    max_queue_delay_seconds: float = 0.0
    preferred_sizes: tuple[int, ...] = ()
    variable_shapes: bool = False


@dataclass(frozen=True, kw_only=True)
class QueuePolicy:
    """Triton's ModelQueuePolicy: 0 is no timeout, and a queue without end."""

    timeout_seconds: float = 0.0
    timeout_action: Literal["reject", "delay"] = "reject"
    max_queue_size: int = 0

    @property
    def is_default(self) -> bool:
        """Whether it leaves the queue alone."""
        return not self.timeout_seconds and not self.max_queue_size


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model with its scheduler. `batching` None: every request is executed alone, in order.

    `exclusive`: executions wait for each other whatever the instances, as those that hold one lock do.
    `cores_used` is what an executing instance uses of the server's cores, where several models share them.
    `dispatch_seconds` pass from a request's arrival at an idle instance to its start; what comes meanwhile joins it.
    `priority_levels` 0: no priorities; else each level may have its own policy in `policies`.
    """

    name: str
    service: ServiceTimes
    max_batch_size: int = 1
    instances: int = 1
    batching: Batching | None = None
    policy: QueuePolicy = QueuePolicy()
    priority_levels: int = 0
    default_priority: int = 1
    policies: Mapping[int, QueuePolicy] = field(default_factory=dict)
    exclusive: bool = False
    cores_used: float = 0.0
    dispatch_seconds: float = 0.0


@dataclass(frozen=True)
class Step:
    """One member of an ensemble; it starts when the steps at these positions have ended."""

    model: str
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ensemble:
    """Models that a request goes through; each has its own queue."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What a request costs outside of the queues and the models: client, network and front end.

    `workers`: how many answers pass at once, each for `times`; None: any number. `latency_seconds` pass besides.
    """

    times: Times = field(default_factory=lambda: Times.constant(0.0))
    workers: int | None = None
    latency_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ServerModel:
    """A whole server. `cores`: what the models share, None: they do not slow each other."""

    models: tuple[ServedModel, ...]
    ensembles: tuple[Ensemble, ...] = ()
    outside: Outside = field(default_factory=Outside)
    cores: float | None = None


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The requests of one kind: their load, the model or ensemble that they call, rows in each, and their priority.

    With `mix` (models or ensembles by weight) users call these in turn, and each arrival one that is drawn; `model` is
    then a name for all of them.
    """

    load: LoadShape
    model: str
    mix: Mapping[str, float] = field(default_factory=dict)
    rows: int = 1
    priority: int = 0
