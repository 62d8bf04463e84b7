"""The options of `serve run`."""

from __future__ import annotations

from typing import Annotated

import typer

Runtime = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", show_default=False, help="installed, embedded or docker."),
]  # fmt: skip
Flags = Annotated[list[str] | None, typer.Argument(help="After --: any flags of tritonserver.", show_default=False)]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 opens the server to the network.")]
HttpPort = Annotated[int, typer.Option(min=0, max=65535, help="Port for HTTP; 0 takes a free one.")]
GrpcPort = Annotated[int, typer.Option(min=0, max=65535, help="Port for gRPC; 0 takes a free one.")]
MetricsPort = Annotated[int, typer.Option(min=0, max=65535, help="Port for Prometheus metrics; 0 takes a free one.")]
Explicit = Annotated[
    bool, typer.Option("--explicit", help="Load only what --model names, and what is asked for later.")
]
Model = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Load only this model; repeatable.", show_default=False),
]
Watch = Annotated[bool, typer.Option("--watch", help="Reload models whose files change.")]
Timeout = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long loading may take.")]
ExitTimeout = Annotated[
    int, typer.Option(min=0, metavar="SECONDS", help="How long Ctrl-C waits for requests in flight.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Triton's log on stderr.")]
