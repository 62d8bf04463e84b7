"""What every verification shares: a Triton that serves one model, and how its answers are seen and summed up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from serve_deploy.errors import InvalidModelError, ServeError, TritonStartError
from serve_deploy.manifest import TensorParity
from serve_deploy.progress import Progress
from serve_deploy.tensors.closeness import Difference
from serve_deploy.tensors.types import DataType, TensorSpec
from serve_deploy.tensors.wire import encode_text
from serve_deploy.triton import ServerOptions, TritonServer, start_server

if TYPE_CHECKING:
    from serve_deploy.onnx.session import Array

_DEATH_SECONDS = 0.5


def start_to_verify(options: ServerOptions, progress: Progress) -> TritonServer:
    """Start the server; TritonStartError says how to do without."""
    try:
        return start_server(options, progress=progress)
    except TritonStartError as error:
        hint = error.hint or "see its last lines above"
        raise TritonStartError(error.message, hint=f"{hint}; or package with `verify=False`") from error


def require_ready(server: TritonServer, name: str) -> None:
    """InvalidModelError with Triton's reason where the model did not load."""
    states = [state for state in server.model_states() if state.name == name]
    for state in states:
        if state.state != "READY":
            raise InvalidModelError(f"Triton refuses to load {name}: {state.reason or 'it does not say why'}")
    if not states:
        raise InvalidModelError(f"Triton does not see {name} in its repository")


def blame(server: TritonServer, error: ServeError) -> ServeError:
    """A server that died answers nothing wrong."""
    code = server.wait(_DEATH_SECONDS)
    if code is None:
        return error
    return TritonStartError(
        f"Triton ended with exit code {code} while it served the model; its last lines:\n{server.last_lines()}"
    )


def as_client_sees(array: Array, spec: TensorSpec, *, batched: bool, cuts_strings: bool = True) -> Array:
    """An output of the model as Triton returns it; `cuts_strings`: the backend ends strings at the first NUL."""
    if spec.data_type is DataType.BYTES:
        texts = [encode_text(text) for text in array.flat]
        cut = np.empty(array.shape, dtype=object)
        cut.reshape(-1)[:] = [text.split(b"\0")[0] for text in texts] if cuts_strings else texts
        array = cut
    # Triton has no rank 0, nor any beside the batch axis: it serves these as [1].
    return np.asarray(array).reshape((*array.shape, 1) if array.ndim == int(batched) else array.shape)


def summarize(differences: Iterable[tuple[str, Difference]]) -> tuple[TensorParity, ...]:
    """The largest difference of each tensor over all requests, in order of first appearance."""
    by_name: dict[str, list[Difference]] = {}
    for name, difference in differences:
        by_name.setdefault(name, []).append(difference)
    return tuple(
        TensorParity(
            name=name,
            largest_absolute_difference=max(difference.absolute for difference in seen),
            largest_relative_difference=max(difference.relative for difference in seen),
        )
        for name, seen in by_name.items()
    )
