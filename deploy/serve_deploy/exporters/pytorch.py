"""Export a PyTorch module by torch.onnx, which follows it through torch.export."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.exporters.examples import Arrays, Examples, describe
from serve_deploy.exporters.python_object import last_line, running

Array = np.ndarray[Any, Any]
# Weights beyond this go into a file of their own, since a protobuf message ends at 2 GiB.
_MOST_INLINE_BYTES = 1 << 30
_NEXT = {
    "Constraints violated": "the code needs one size where the samples have several: see the line, and write sizes as"
    " x.shape[0]",
    "Could not guard": "the code branches on a value: use torch.where, or torch.cond",
    "GuardOnDataDependent": "the code branches on a value: use torch.where, or torch.cond",
    "Unsupported": "rewrite that line, or export a copy of the module without it",
}


class PyTorchModel:
    """A module in evaluation mode on the CPU; its inputs are forward's parameters."""

    framework = "PyTorch"
    next_step = "a branch or a size in the code may have been fixed while it was exported: write sizes as x.shape[0]"

    def __init__(self, module: Any, what: str) -> None:
        self.module, self.what = module.eval().to("cpu"), what
        self._parameters = inspect.signature(module.forward).parameters

    @property
    def versions(self) -> tuple[str, str]:
        """Of the framework, and of the exporter with its name."""
        import torch

        return torch.__version__, f"torch.onnx {torch.__version__}"

    @property
    def input_names(self) -> tuple[str, ...]:
        """Forward's parameters; the required ones alone where a sample is one array."""
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return tuple(name for name, each in self._parameters.items() if each.kind in named)

    @property
    def required_names(self) -> tuple[str, ...]:
        """Those without a default."""
        return tuple(name for name in self.input_names if self._parameters[name].default is inspect.Parameter.empty)

    def prepare(self, examples: Examples) -> tuple[Examples, ...]:
        """The examples in the module's own precision; UsageError where they do not fit forward."""
        unknown = [name for name in examples.names if name not in self.input_names]
        missing = [name for name in self.required_names if name not in examples.names]
        if unknown or missing:
            problem = f"no array for '{missing[0]}'" if missing else f"forward has no parameter '{unknown[0]}'"
            takes = ", ".join(self.input_names) or "no parameters by name: write each of them out"
            raise UsageError(f"`samples`: {problem}", hint=f"forward of {self.what} takes {takes}")
        double = any(str(each.dtype) == "torch.float64" for each in self.module.parameters())
        return (examples if double else examples.in_single_precision(),)

    def run(self, arrays: Arrays) -> dict[str, Array]:
        """The module's outputs by name: the keys of a dict, else output, or output_0, output_1 …"""
        import torch

        with running(f"{self.what} fails on {describe(arrays)}"), torch.inference_mode():
            answer = self.module(**self._tensors(arrays))
        return {name: _to_array(tensor) for name, tensor in _name_outputs(answer, self.what).items()}

    def export(self, examples: Examples, file: Path) -> None:
        """Write the ONNX file; InvalidModelError with the last line of the exporter's error."""
        import torch

        arrays = examples.trace_with()
        outputs = tuple(self.run(arrays))
        size = sum(each.numel() * each.element_size() for each in self.module.parameters())
        try:
            with running(f"{self.what} cannot be exported"), _quiet():
                torch.onnx.export(
                    self.module,
                    (),
                    file,
                    kwargs=self._tensors(arrays),
                    input_names=list(examples.names),
                    output_names=list(outputs),
                    dynamic_shapes=_dynamic_shapes(examples),
                    dynamo=True,
                    external_data=size > _MOST_INLINE_BYTES,
                    verbose=False,
                )
        except InvalidModelError as error:
            cause = error.__cause__
            if cause is None or isinstance(cause, ModuleNotFoundError):
                raise
            raise _explain(self.what, cause) from cause

    def _tensors(self, arrays: Arrays) -> dict[str, Any]:
        import torch

        for name, array in arrays.items():
            if array.dtype.kind in "OUS":
                raise UsageError(f"`samples`: '{name}' is text, and a PyTorch module takes numbers")
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's warnings, and the graphs that it prints where it fails."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _explain(what: str, cause: BaseException) -> InvalidModelError:
    """The innermost error: the exporter wraps it in a page about its own steps."""
    inner = cause
    while inner.__cause__ is not None:
        inner = inner.__cause__
    text = f"{type(inner).__name__} {inner}"
    hint = next((hint for mark, hint in _NEXT.items() if mark in text), None)
    return InvalidModelError(
        f"PyTorch cannot export {what}: {_telling_line(inner)}",
        hint=hint or "try torch.export.export on it in Python: it names the line",
    )


def _telling_line(error: BaseException) -> str:
    """The line with the reason: of a violated constraint the first that begins with a dash, else the last one."""
    for line in str(error).splitlines():
        if line.strip().startswith(("- ", "Could not guard", "Explanation:")):
            return " ".join(line.strip().removeprefix("- ").split())[:300]
    return last_line(error)


def _dynamic_shapes(examples: Examples) -> dict[str, dict[int, Any]]:
    import torch

    dim = torch.export.Dim
    shapes: dict[str, dict[int, Any]] = {
        name: dict.fromkeys(axes, dim.DYNAMIC) for name, axes in examples.free_axes().items()
    }
    if examples.is_batched:
        batch = dim("batch")
        shapes = {name: {0: batch, **axes} for name, axes in shapes.items()}
    return shapes


def _name_outputs(answer: Any, what: str) -> dict[str, Any]:
    import torch

    if isinstance(answer, torch.Tensor):
        return {"output": answer}
    if isinstance(answer, Mapping):
        named = {str(key): value for key, value in answer.items()}
    elif hasattr(answer, "_asdict"):
        named = dict(answer._asdict())
    elif isinstance(answer, tuple | list):
        named = {f"output_{index}": value for index, value in enumerate(answer)}
    else:
        named = {}
    odd = [name for name, value in named.items() if not isinstance(value, torch.Tensor)]
    if odd or not named:
        kind = (
            f"output '{odd[0]}' is a {type(named[odd[0]]).__name__}" if odd else f"it returns a {type(answer).__name__}"
        )
        raise InvalidModelError(
            f"{what}: {kind}, and Triton serves tensors",
            hint="wrap it in a module that returns a tensor, a tuple of tensors or a dict of them",
        )
    return named


def _to_array(tensor: Any) -> Array:
    import torch

    plain = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
    return np.asarray(plain.numpy())
