"""`serve infer`: one request to a served model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_cli import infer_options as asked
from serve_cli import load_endpoint, output
from serve_cli.loadtest_options import Model, ModelVersion, Shape, Url
from serve_cli.options import Json
from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.inference.request import InferenceOutput, InferenceResult

_TOP_FOR_PEOPLE = 5
_SHOWN_VALUES = 12


def infer(
    url: Url,
    model: Model,
    model_version: ModelVersion = "",
    inputs: asked.Input = None,
    random: asked.Random = False,
    shape: Shape = None,
    seed: asked.Seed = 0,
    outputs: asked.OutputNames = None,
    top: asked.Top = None,
    image_scale: asked.Scale = asked.ImageScale.AUTO,
    timeout: asked.Timeout = 60.0,
    header: load_endpoint.Header = None,
    token_file: load_endpoint.TokenFile = None,
    ca_cert: load_endpoint.CaCertificate = None,
    cert: load_endpoint.Certificate = None,
    key: load_endpoint.Key = None,
    insecure: load_endpoint.Insecure = False,
    save: asked.Save = None,
    json: Json = False,
) -> None:
    """Send one request to a served model and show its outputs.

    \b
    serve infer http://localhost:8000 -m digits -i @image.npy
    serve infer grpc://localhost:8001 -m digits -i image=@seven.png --json
    serve infer http://localhost:8000 -m sums -i 'a=[1, 2]' -i 'b=[3, 4]' -o out.npz
    """
    from serve_deploy.inference.options import InferenceOptions
    from serve_deploy.inference.request import infer as send
    from serve_deploy.inference.request import save_outputs

    # Exact values where a program reads them, classes where a person does.
    default_top = 0 if json or save else _TOP_FOR_PEOPLE
    options = InferenceOptions(
        endpoint=load_endpoint.read_endpoint(
            url, header=header, token_file=token_file, ca_cert=ca_cert, cert=cert, key=key, insecure=insecure
        ),
        model=model, model_version=model_version, inputs=tuple(inputs or ()), random=random,
        shapes=dict(map(_read_shape, shape or [])), seed=seed, outputs=tuple(outputs or ()),
        top=default_top if top is None else top, image_scale=image_scale.value, timeout_seconds=timeout,
    )  # fmt: skip
    if save and options.top:
        raise UsageError("--top asks for classes in place of the values that -o saves", hint="leave one of them out")
    with output.progress() as progress:
        progress(f"asking {options.endpoint.url}")
        result = send(options)
    if save:
        save_outputs(result, save)
    output.emit(result, as_json=json, render=print_result)


def _read_shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, dims = text.rpartition(":")
    try:
        return name, tuple(int(dim) for dim in dims.split(","))
    except ValueError as error:
        raise UsageError(f"--shape {text}: not INPUT:DIMS", hint="write it as image:3,224,224") from error


def print_result(result: InferenceResult) -> None:
    """A table of each output with labels, and one of all the others."""
    errors = output.stderr()
    for note in result.notes:
        errors.print(note, markup=False)
    values = [item for item in result.outputs if not item.classes]
    if values:
        rows = [(item.name, item.data_type, list(item.shape), _shorten(item)) for item in values]
        output.print_table(("output", "type", "shape", "values"), rows)
    for item in result.outputs:
        if item.classes:
            many = len(item.classes) > 1
            rows = [
                (*((number,) if many else ()), score.label or score.index, score.index, f"{score.score:.6g}")
                for number, ranked in enumerate(item.classes)
                for score in ranked
            ]
            output.print_table((*(("row",) if many else ()), item.name, "index", "score"), rows)
    milliseconds = result.elapsed_seconds * 1000
    errors.print(f"{result.model} version {result.version} answered in {milliseconds:.1f} ms", markup=False)


def _shorten(item: InferenceOutput) -> str:
    import numpy as np

    if item.data is None:
        return ""
    data = item.data
    if data.dtype == object:
        data = np.array([text.decode("utf-8", "replace") for text in data.flat], dtype=object).reshape(data.shape)
    return np.array2string(data, threshold=_SHOWN_VALUES, edgeitems=3, precision=6, separator=", ")
