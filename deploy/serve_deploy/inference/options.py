"""What one inference request is to ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.endpoint.address import Endpoint, read_endpoint
from serve_deploy.endpoint.readiness import WaitSeconds
from serve_deploy.option import Made, Option
from serve_deploy.stores.repository_option import read_repository
from serve_deploy.tensors.shape_text import parse_shape

Scale = Literal["auto", "unit", "signed", "imagenet", "none"]
_REQUEST, _INPUTS, _OUTPUTS, _SEQUENCE = "Request", "Inputs", "Outputs", "Sequence (stateful models)"


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """What to ask; with `random`, inputs that are not given are made up."""

    model: Annotated[str, Option("The model to ask.", metavar="NAME", group=_REQUEST)]
    model_version: Annotated[str, Option("Its version; by default the latest.", metavar="N", group=_REQUEST)] = ""
    timeout_seconds: Annotated[float, Option("How long to wait for the answer.", minimum=0.001, group=_REQUEST)] = 60.0
    wait_seconds: WaitSeconds = 0.0
    inputs: Annotated[
        tuple[str, ...],
        Option(
            "@x.npy, @x.npz, @x.json, @picture.png, any @file for strings, JSON, or text; repeatable.",
            metavar="[NAME=]VALUE",
            group=_INPUTS,
        ),
    ] = ()
    repository: Annotated[
        Path | None,
        Option(
            "Send a sample of the model's package for the inputs that are not given.",
            metavar="DIR",
            group=_INPUTS,
            read=read_repository,
        ),
    ] = None
    sample: Annotated[int, Option("Which of those samples, counted from 0.", minimum=0, group=_INPUTS)] = 0
    random: Annotated[bool, Option("Send random values for the inputs that are not given.", group=_INPUTS)] = False
    shapes: Annotated[
        tuple[tuple[str, tuple[int, ...]], ...],
        Option(
            "Sizes of free dims for `random`, without the batch axis: IN:3,224,224.",
            metavar="INPUT:DIMS",
            group=_INPUTS,
            read=parse_shape,
        ),
    ] = ()
    seed: Annotated[int, Option("Seed for `random`.", group=_INPUTS)] = 0
    image_scale: Annotated[
        Scale, Option("How to scale pixel values; auto: 0 to 1 for float inputs.", group=_INPUTS)
    ] = "auto"
    outputs: Annotated[
        tuple[str, ...], Option("Return only this output; repeatable.", metavar="NAME", group=_OUTPUTS)
    ] = ()
    top: Annotated[
        int | None,
        Option(
            "Show the N highest classes of every output; by default 5 of each with labels; 0: none.",
            metavar="N",
            minimum=0,
            group=_OUTPUTS,
        ),
    ] = None
    sequence_id: Annotated[
        str, Option("Ask as a part of this sequence: a number, or text.", metavar="ID", group=_SEQUENCE)
    ] = ""
    sequence_start: Annotated[bool, Option("This is the sequence's first request.", group=_SEQUENCE)] = False
    sequence_end: Annotated[bool, Option("This is the sequence's last request.", group=_SEQUENCE)] = False
    endpoint: Annotated[Endpoint, Made(read_endpoint)]
