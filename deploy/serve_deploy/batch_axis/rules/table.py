"""What a rule is: the values of a node's outputs from those of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serve_deploy.batch_axis.calls import Call
from serve_deploy.batch_axis.values import Value

Rule = Callable[[Call], "Value | Sequence[Value]"]
