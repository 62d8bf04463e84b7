"""What a user may ask of a running server's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from serve_deploy.endpoint.address import Endpoint, read_endpoint
from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option

_CHANGES, _FIGURES = "Changes", "Figures"


@dataclass(frozen=True, kw_only=True)
class ModelsOptions:
    """Which server, what to load and unload first, and what else to read."""

    endpoint: Annotated[Endpoint, Made(read_endpoint)]
    load: Annotated[
        tuple[str, ...],
        Option("Load a model, or load it again if its files changed; repeatable.", metavar="MODEL", group=_CHANGES),
    ] = ()
    unload: Annotated[tuple[str, ...], Option("Unload a model; repeatable.", metavar="MODEL", group=_CHANGES)] = ()
    force: Annotated[
        bool, Option("Unload a model also where that takes down ensembles that run it.", group=_CHANGES)
    ] = False
    dry_run: Annotated[bool, Option("Say what would be loaded and unloaded, and do nothing.", group=_CHANGES)] = False
    timeout_seconds: Annotated[float, Option("How long a load or an unload may take.", minimum=0.1, group=_CHANGES)] = (
        600.0
    )
    metrics_url: Annotated[
        str | None, Option("Triton's /metrics; adds GPU memory and load times.", metavar="URL", group=_FIGURES)
    ] = None
    interval_seconds: Annotated[
        float, Option("How long to wait between two looks.", minimum=0.1, maximum=86_400, group="Output")
    ] = 2.0

    def __post_init__(self) -> None:
        if self.metrics_url is not None and not self.metrics_url.startswith(("http://", "https://")):
            raise UsageError(
                f"`metrics_url={self.metrics_url}` is not an address", hint="write it as http://host:8002/metrics"
            )
