"""Which repositories to compare, and what counts as a failure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.option import Option

FailOn = Literal["breaking", "reload", "change", "never"]
_DIFF = "Comparison"


@dataclass(frozen=True, kw_only=True)
class DiffOptions:
    """Two model repositories, or two folders of one model, before and after a change."""

    old: Annotated[
        str,
        Option("What is served now: a model repository, one model's folder, or a running Triton's URL.", metavar="OLD"),
    ]
    new: Annotated[Path, Option("What is to be served: the same, changed.", metavar="NEW")]
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
