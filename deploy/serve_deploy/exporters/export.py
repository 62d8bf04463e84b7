"""Export a model, whatever made it, and prove that the export answers as the model does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from serve_deploy.errors import InvalidModelError, UsageError, VerificationError
from serve_deploy.exporters.comparison import Agreement, compare_export
from serve_deploy.exporters.examples import Array, Arrays, Examples
from serve_deploy.exporters.python_object import running
from serve_deploy.exporters.pytorch import PyTorchModel
from serve_deploy.exporters.scikit_learn import ScikitLearnModel

_EXPECTED = "a PyTorch module or a fitted scikit-learn estimator, or a function without arguments that returns one"


class Exportable(Protocol):
    """A framework's model: its inputs, its own answers, and its exporter."""

    framework: str
    what: str
    next_step: str

    @property
    def versions(self) -> tuple[str, str]: ...

    @property
    def input_names(self) -> tuple[str, ...]: ...

    @property
    def required_names(self) -> tuple[str, ...]: ...

    def prepare(self, examples: Examples) -> tuple[Examples, ...]: ...

    def run(self, arrays: Arrays) -> dict[str, Array]: ...

    def export(self, examples: Examples, file: Path) -> None: ...


@dataclass(frozen=True)
class ExportedModel:
    """An ONNX file, what made it, and how it compares with the model that it was made from."""

    file: Path
    framework: str
    framework_version: str
    exporter: str
    agreement: Agreement
    notes: tuple[str, ...] = ()


def export_model(model: Any, samples: Sequence[Arrays], file: Path, *, what: str = "the model") -> ExportedModel:
    """Write a PyTorch module or scikit-learn estimator as an ONNX file with a free batch, and compare the two.

    `samples` are inputs by name: rows where every input has as many, which then are a batch. InvalidModelError where
    it cannot be exported, VerificationError where the export answers otherwise.
    """
    return export_known(recognise(model, what), samples, file)


def export_known(model: Exportable, samples: Sequence[Arrays], file: Path) -> ExportedModel:
    """As `export_model`, of a model that is recognised."""
    single, *double = model.prepare(Examples.of(samples))
    notes: tuple[str, ...] = ()
    try:
        agreement = _export(model, single, file)
    except VerificationError as error:
        if not double:
            raise
        try:
            agreement = _export(model, double[0], file)
        except (VerificationError, InvalidModelError):
            raise error from None
        notes = (f"{model.what} takes FP64: in FP32 its answers are others",)
    return ExportedModel(file, model.framework, *model.versions, agreement, notes)


def _export(model: Exportable, examples: Examples, file: Path) -> Agreement:
    from serve_deploy.onnx.session import open_model

    model.export(examples, file)
    opened = open_model(file)
    try:
        return compare_export(model.run, opened.run, examples, model.what)
    except VerificationError as error:
        raise VerificationError(error.message, hint=model.next_step) from error


def recognise(candidate: Any, what: str) -> Exportable:
    """The model, or what a function returns; InvalidModelError where that is no model that can be exported."""
    known = _recognise(candidate, what)
    if known is None and callable(candidate):
        _require_no_arguments(candidate, what)
        with running(f"{what} fails"):
            made = candidate()
        known = _recognise(made, what)
        if known is None:
            raise InvalidModelError(
                f"{what} returns an object of type {type(made).__name__}, not a model", hint=_hint(made)
            )
    if known is None:
        raise InvalidModelError(f"{what} is of type {type(candidate).__name__}, not a model", hint=_hint(candidate))
    return known


def _require_no_arguments(function: Callable[..., Any], what: str) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C: calling it tells
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in variadic]
    if needed:
        raise InvalidModelError(
            f"{what} takes arguments ({', '.join(needed)})",
            hint=f"name {_EXPECTED}; a function of arrays becomes a step of serve pipeline",
        )


def _recognise(candidate: Any, what: str) -> Exportable | None:
    bases = {(base.__module__.split(".")[0], base.__name__) for base in type(candidate).__mro__}
    if ("torch", "Module") in bases:
        return PyTorchModel(candidate, what)
    if ("sklearn", "BaseEstimator") in bases:
        return ScikitLearnModel(candidate, what)
    return None


def _hint(candidate: Any) -> str:
    if isinstance(candidate, dict):
        return "weights alone are no model: load them into their module, and name that"
    return f"name {_EXPECTED}"


def require_samples(path: Path | None, model: Exportable) -> Path:
    """The samples' path; UsageError where none were given."""
    if path is None:
        names = ", ".join(model.required_names)
        raise UsageError(
            f"{model.what} needs `samples`: an export is made with inputs, and compared on them",
            hint=f"give a .npz with an array for each of: {names}",
        )
    return path
