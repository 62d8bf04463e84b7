"""Options of the commands that look into a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

ReleaseName = Annotated[str, typer.Argument(metavar="RELEASE", help="The release's name.", show_default=False)]
Namespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace of the release.")]
Context = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The context of KUBECONFIG; the current one by default.", show_default=False),
]
