"""What one inference request is to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.inference.image_input import Scale


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """What to ask; with `random`, inputs that are not given are made up.

    `top` asks Triton for that many classes of each output that has labels, in place of its values.
    """

    endpoint: Endpoint
    model: str
    model_version: str = ""
    inputs: tuple[str, ...] = ()
    random: bool = False
    shapes: Mapping[str, tuple[int, ...]] | None = None
    seed: int = 0
    outputs: tuple[str, ...] = ()
    top: int = 0
    image_scale: Scale = "auto"
    timeout_seconds: float = 60.0
