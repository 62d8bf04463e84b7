"""`serve infer`: one request to a served model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_cli import output
from serve_cli.options import ENDPOINT_FLAGS, Json
from serve_cli.taking import takes_options
from serve_deploy.inference.options import InferenceOptions

if TYPE_CHECKING:
    from serve_deploy.inference.request import InferenceOutput, InferenceResult

_SHOWN_VALUES = 12
Save = Annotated[
    Path | None,
    typer.Option("-o", metavar="OUT.npz", help="Save the outputs as arrays.", rich_help_panel="Outputs"),
]


@takes_options(
    arguments=["url"],
    flags={
        **ENDPOINT_FLAGS,
        "model": ("--model", "-m"),
        "inputs": ("--input", "-i"),
        "shapes": "--shape",
        "outputs": "--output",
    },
    without=["compression"],
    needs="model",
)
def infer(options: InferenceOptions, save: Save = None, json: Json = False) -> None:
    """Send one request to a served model and show its outputs.

    \b
    serve infer http://localhost:8000 -m digits -i @image.npy
    serve infer grpc://localhost:8001 -m digits -i image=@seven.png --json
    serve infer http://localhost:8000 -m classify -i image=@cat.jpg
    serve infer http://localhost:8000 -m digits --repository models --json
    serve infer http://localhost:8000 -m sums -i 'a=[1, 2]' -i 'b=[3, 4]' -o out.npz
    serve infer http://localhost:8000 -m speech -i @chunk.npy --sequence-id 7 --sequence-start
    """
    from serve_deploy.inference.request import infer as send
    from serve_deploy.inference.request import save_outputs

    with output.progress(tells_waits=True) as progress:
        result = send(options, progress=progress)
    if save:
        save_outputs(result, save)
    output.emit(result, as_json=json, render=print_result)


def print_result(result: InferenceResult) -> None:
    """A table of each output with classes, and one of all the others."""
    errors = output.stderr()
    for note in result.notes:
        errors.print(note, markup=False)
    values = [item for item in result.outputs if not item.classes and not item.part_of]
    if values:
        rows = [(item.name, item.data_type, list(item.shape), _shorten(item)) for item in values]
        output.print_table(("output", "type", "shape", "values"), rows)
    for item in result.outputs:
        if item.classes:
            output.print_table(*_class_table(item))
    milliseconds = result.elapsed_seconds * 1000
    errors.print(f"{result.model} version {result.version} answered in {milliseconds:.1f} ms", markup=False)


def _class_table(item: InferenceOutput) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Its columns and rows; which row only where there are several, and the index only where it is known."""
    many = len(item.classes) > 1
    known = any(score.index is not None for ranked in item.classes for score in ranked)
    rows: list[tuple[object, ...]] = [
        (
            *((number,) if many else ()),
            score.label or score.index,
            *((score.index,) if known else ()),
            _decimals(score.score),
        )
        for number, ranked in enumerate(item.classes)
        for score in ranked
    ]
    return (*(("row",) if many else ()), item.name, *(("index",) if known else ()), "score"), rows


def _decimals(score: float) -> str:
    return f"{score:.6f}".rstrip("0").rstrip(".")


def _shorten(item: InferenceOutput) -> str:
    import numpy as np

    return np.array2string(item.readable, threshold=_SHOWN_VALUES, edgeitems=3, precision=6, separator=", ")
