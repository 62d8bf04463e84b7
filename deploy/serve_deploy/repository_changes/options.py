"""Which repositories to compare, and what counts as a failure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.option import Option
from serve_deploy.stores.address import StoreAddress, is_store_address
from serve_deploy.stores.repository_option import read_repository

FailOn = Literal["breaking", "reload", "change", "never"]
_DIFF = "Comparison"


def _read_old(text: str) -> str | StoreAddress:
    is_url = "://" in text and not is_store_address(text)
    found = text if is_url else read_repository(text)
    return found if isinstance(found, StoreAddress) else text


@dataclass(frozen=True, kw_only=True)
class DiffOptions:
    """Two model repositories, or two folders of one model, before and after a change."""

    old: Annotated[
        str | Path,
        Option(
            "What is served now: a model repository, one model's folder, a store, or a running Triton's URL.",
            metavar="OLD",
            read=_read_old,
        ),
    ]
    new: Annotated[Path, Option("What is to be served: the same, changed.", metavar="NEW", read=read_repository)]
    fail_on: Annotated[
        FailOn,
        Option(
            "End with exit code 7 where clients break or a model is refused, where anything reloads, or at any change.",
            group=_DIFF,
        ),
    ] = "breaking"
    replaced: Annotated[
        bool,
        Option(
            "A changed model's folder is replaced as a whole, as cp and serve package do, not file by file.",
            group=_DIFF,
        ),
    ] = False
    model_config_name: Annotated[
        str | None,
        Option("Read configs/NAME.pbtxt where a model has it, as Triton does with this option.",
               metavar="NAME", group=_DIFF),
    ] = None  # fmt: skip
