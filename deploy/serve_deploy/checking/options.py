"""What a user may decide about a check."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Made, Option
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.options import TrustOptions
from serve_deploy.stores.repository_option import read_repository
from serve_deploy.triton.options import RuntimeName

_CHECK, _STORE = "Check", "Model store"


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Which repository to check, and against which Triton."""

    repository: Annotated[
        Path | StoreAddress,
        Option("A Triton model repository, or a store's address.", metavar="REPOSITORY", read=read_repository),
    ]
    download: Annotated[
        bool,
        Option("Download a store's snapshot to compare every file's content, and load its models.", group=_STORE),
    ] = False
    trust: Annotated[TrustOptions, Made(TrustOptions)] = field(default_factory=TrustOptions)
    url: Annotated[
        str | None, Option("Also compare what a running Triton serves with a store's snapshot.", metavar="URL",
                           group=_STORE)
    ] = None  # fmt: skip
    release: Annotated[
        str | None,
        Option(
            "Triton container release, such as 24.10; by default the one that each model was packaged for.",
            metavar="RELEASE",
            group=_CHECK,
        ),
    ] = None
    model_config_name: Annotated[
        str,
        Option("Load configs/NAME.pbtxt of each model that has one, on a machine that it is for.", metavar="NAME",
               group=_CHECK),
    ] = ""  # fmt: skip
    load: Annotated[bool, Option("Only read the files: start no Triton.", group=_CHECK)] = True
    runtime: Annotated[
        RuntimeName | None, Option("The Triton to use; by default the first that works here.", group=_CHECK)
    ] = None
