"""Run the function of a Python model that serve wrote into a repository, without Triton."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from serve_deploy.errors import InvalidModelError
from serve_deploy.python_models.staged_function import StagedFunction
from serve_deploy.tensors.types import ModelSignature

if TYPE_CHECKING:
    from serve_deploy.python_models.model import Arrays

_CALL, _FUNCTION = "function.json", "function"


def open_function(version: Path, signature: ModelSignature, *, batched: bool) -> Callable[[Arrays], Arrays] | None:
    """The function of a version's folder, between arrays in its own shapes; None where serve did not write it.

    InvalidModelError where its files do not load here.
    """
    place = version / _CALL
    if not place.is_file():
        return None
    files = {
        file.relative_to(version / _FUNCTION).as_posix(): file.read_bytes()
        for file in sorted((version / _FUNCTION).rglob("*"))
        if file.is_file() and file.suffix != ".pyc"
    }
    try:
        call = json.loads(place.read_text(encoding="utf-8"))
        name, function, text = call["file"], call["function"], tuple(call["text"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidModelError(f"{place} cannot be read: {error}", hint="package the function again") from error
    return StagedFunction(files, name, function).bind(signature, batched=batched, text=text)
