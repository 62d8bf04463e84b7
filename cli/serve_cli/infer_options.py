"""The options of `serve infer`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ImageScale(StrEnum):
    """How a picture's 0 to 255 become the model's values."""

    AUTO = "auto"
    UNIT = "unit"
    SIGNED = "signed"
    IMAGENET = "imagenet"
    NONE = "none"


Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", metavar="[NAME=]VALUE",
        help="@x.npy, @x.npz, @x.json, @picture.png, JSON, or text for strings; repeatable.",
    ),
]  # fmt: skip
Random = Annotated[bool, typer.Option("--random", help="Make up the inputs that are not given.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of --random.")]
OutputNames = Annotated[
    list[str] | None, typer.Option("--output", metavar="NAME", help="Ask for this output only; repeatable.")
]
Top = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Show the N highest classes of outputs with labels; 0: their values."),
]
Scale = Annotated[ImageScale, typer.Option("--image-scale", help="Values of pictures; auto: 0 to 1 for floats.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", min=0.001, help="How long to wait for the answer.")]
Save = Annotated[Path | None, typer.Option("-o", metavar="OUT.npz", help="Save the outputs as arrays.")]
