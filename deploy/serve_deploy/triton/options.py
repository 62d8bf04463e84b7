"""How to start a Triton server; the same for every runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import TrustOptions
from serve_deploy.stores.repository_option import read_repository

RuntimeName = Literal["embedded", "docker", "installed"]
_MODELS, _SERVER, _NETWORK = "Models", "Server", "Network"


def _read_flag(text: str) -> str:
    if not text.startswith("--"):
        raise UsageError(f"'{text}' is not a flag of tritonserver", hint="serve run takes one model repository")
    return text


def read_release(text: str) -> str:
    """The name of a Triton release that serve knows; UsageError where it is none."""
    from serve_deploy.releases import find_release

    return find_release(text).name


UsedRuntime = Annotated[
    RuntimeName | None, Option("The Triton to use; by default the first that works here.", group=_SERVER)
]
UsedRelease = Annotated[
    str | None, Option("Triton container release, such as 24.10.", metavar="RELEASE", group=_SERVER, read=read_release)
]


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What to serve, with which Triton, and where; a port of 0 means a free one."""

    repository: Annotated[
        Path, Option("A Triton model repository, or a store's address.", metavar="REPOSITORY", read=read_repository)
    ]
    extra_arguments: Annotated[
        tuple[str, ...], Option("After --: any flags of tritonserver.", metavar="FLAGS", read=_read_flag)
    ] = ()
    models: Annotated[tuple[str, ...], Option("Load only this model; repeatable.", metavar="NAME", group=_MODELS)] = ()
    explicit: Annotated[
        bool, Option("Load only what `models` names, and models requested later through the API.", group=_MODELS)
    ] = False
    model_config_name: Annotated[
        str, Option("Use configs/NAME.pbtxt of each model that has one, such as l4.", metavar="NAME", group=_MODELS)
    ] = ""
    watch: Annotated[
        bool, Option("Reload models whose files change; of a store, follow its current snapshot.", group=_MODELS)
    ] = False
    # The store of which `repository` is a copy.
    pulled_from: StoreAddress | None = None
    trust: Annotated[TrustOptions, Made(TrustOptions)] = field(default_factory=TrustOptions)
    # False makes Triton refuse a configuration that it would have to complete.
    auto_complete: bool = True
    host: Annotated[str, Option("Address to listen on; 0.0.0.0 opens the server to the network.", group=_NETWORK)] = (
        "127.0.0.1"
    )
    http_port: Annotated[int, Option("Port for HTTP; 0: any free port.", minimum=0, maximum=65535, group=_NETWORK)] = 0
    grpc_port: Annotated[int, Option("Port for gRPC; 0: any free port.", minimum=0, maximum=65535, group=_NETWORK)] = 0
    metrics_port: Annotated[
        int, Option("Port for Prometheus metrics; 0: any free port.", minimum=0, maximum=65535, group=_NETWORK)
    ] = 0
    runtime: UsedRuntime = None
    release: UsedRelease = None
    startup_timeout_seconds: Annotated[
        float, Option("How long to wait for the models to load.", minimum=1, group=_SERVER)
    ] = 600.0
    exit_timeout_seconds: Annotated[
        int, Option("How long Ctrl-C waits for requests in flight.", minimum=0, group=_SERVER)
    ] = 10

    def __post_init__(self) -> None:
        """Refuse to look for changes where there are none."""
        store = self.pulled_from
        if store is None:
            return
        if {"--model-control-mode=poll", "poll"} & set(self.extra_arguments):
            raise UsageError(
                f"Triton would poll a copy of {store} in the cache, which never changes",
                hint="`watch` follows the store; a Triton that you start yourself can poll a folder with the fixed"
                " layout",
            )
        if self.watch and store.snapshot is not None and store.kind != "oci":
            raise UsageError(f"{store} names a snapshot, which never changes", hint=f"`watch` follows {store.root}")
