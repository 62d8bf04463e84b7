"""A plain function as a model of Triton's Python backend: one object of this class is one model instance.

serve wrote this file; it is the same for every function. The function stands in function/, and function.json says what
is called; types and shapes are those of config.pbtxt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from serve_calling import Caller, RefusedError, Tensor, load_function


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the function; what it imports must be installed here."""
        config = json.loads(args["model_config"])
        version = Path(args["model_repository"]) / args["model_version"]
        call = json.loads((version / "function.json").read_text(encoding="utf-8"))
        function = _load(version / "function", call)
        self._batched = config["max_batch_size"] > 0
        self._merges = self._batched and call["merges"]
        inputs, outputs = (
            tuple(_read_tensor(entry, call["text"], self._batched) for entry in config[kind])
            for kind in ("input", "output")
        )
        self._caller = Caller(function, inputs, outputs, self._batched)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests of one dynamic batch, by one call for those that can share it."""
        asked = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        answers: dict[int, Any] = {}
        for group in self._group(asked):
            answers.update(zip(group, self._answer([asked[index] for index in group]), strict=True))
        return [self._respond(request, answers[index]) for index, request in enumerate(requests)]

    def _group(self, asked: Sequence[dict[str, Any]]) -> Iterable[list[int]]:
        """Which requests can be stacked: those with the same inputs of the same shapes."""
        groups: dict[Any, list[int]] = {}
        for index, arrays in enumerate(asked):
            key = tuple(sorted((name, array.shape[1:]) for name, array in arrays.items())) if self._merges else index
            groups.setdefault(key, []).append(index)
        return groups.values()

    def _answer(self, asked: Sequence[dict[str, Any]]) -> list[Any]:
        """The outputs of each request, or the error that it alone makes."""
        if len(asked) == 1:
            try:
                return [self._caller(asked[0])]
            except RefusedError as error:
                return [error]
        try:
            outputs = self._caller({name: np.concatenate([arrays[name] for arrays in asked]) for name in asked[0]})
        except RefusedError:
            return [answer for arrays in asked for answer in self._answer([arrays])]
        ends = np.cumsum([len(next(iter(arrays.values()))) for arrays in asked])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: part[index] for name, part in parts.items()} for index in range(len(asked))]

    def _respond(self, request: Any, answer: Any) -> Any:
        if isinstance(answer, RefusedError):
            code = pb_utils.TritonError.INVALID_ARG if answer.of_request else pb_utils.TritonError.INTERNAL
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(answer), code))
        wanted = request.requested_output_names()
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in wanted])


def _load(folder: Path, call: dict[str, Any]) -> Callable[..., Any]:
    sys.path.insert(0, str(folder))
    try:
        return load_function(folder, call["file"], call["function"])
    except ImportError as error:
        hint = "install what requirements.txt in the model's folder lists, or set EXECUTION_ENV_PATH"
        raise pb_utils.TritonModelException(f"{call['file']}: {error}; {hint}") from error


def _read_tensor(entry: dict[str, Any], texts: list[str], batched: bool) -> Tensor:
    reshape = entry.get("reshape")
    dims = [int(dim) for dim in (entry["dims"] if reshape is None else reshape.get("shape", []))]
    strings = "str" if entry["name"] in texts else "bytes"
    numpy_type = pb_utils.triton_string_to_numpy(entry["data_type"])
    name = strings if entry["data_type"] == "TYPE_STRING" else np.dtype(numpy_type).name
    return Tensor(entry["name"], name, (-1, *dims) if batched else tuple(dims))
