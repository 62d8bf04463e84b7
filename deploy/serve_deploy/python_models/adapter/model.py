"""A plain function as a model of Triton's Python backend: one object of this class is one model instance.

serve wrote this file; it is the same for every function. The function stands in function/, and function.json says what
is called; types and shapes are those of config.pbtxt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from serve_calling import Caller, RefusedError, Tensor, answer_requests, load_function


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
        answers = answer_requests(self._caller, asked, merges=self._merges)
        return [_respond(request, answer) for request, answer in zip(requests, answers, strict=True)]


def _respond(request: Any, answer: Any) -> Any:
    if isinstance(answer, RefusedError):
        return pb_utils.InferenceResponse([], _as_error(answer))
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in wanted])


def _as_error(error: RefusedError) -> Any:
    if not hasattr(pb_utils.TritonError, "INVALID_ARG"):  # before Triton 23.10
        return pb_utils.TritonError(str(error))
    code = pb_utils.TritonError.INVALID_ARG if error.of_request else pb_utils.TritonError.INTERNAL
    return pb_utils.TritonError(str(error), code)


def _load(folder: Path, call: dict[str, Any]) -> Callable[..., Any]:
    sys.path.insert(0, str(folder))
    try:
        return load_function(folder, call["file"], call["function"])
    except ImportError as error:
        hint = "install what requirements.txt beside model.py lists, or set EXECUTION_ENV_PATH"
        raise pb_utils.TritonModelException(f"{call['file']}: {error}; {hint}") from error


def _read_tensor(entry: dict[str, Any], texts: list[str], batched: bool) -> Tensor:
    reshape = entry.get("reshape")
    dims = [int(dim) for dim in (entry["dims"] if reshape is None else reshape.get("shape", []))]
    strings = "str" if entry["name"] in texts else "bytes"
    numpy_type = pb_utils.triton_string_to_numpy(entry["data_type"])
    name = strings if entry["data_type"] == "TYPE_STRING" else np.dtype(numpy_type).name
    return Tensor(entry["name"], name, (-1, *dims) if batched else tuple(dims))
