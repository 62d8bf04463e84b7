"""A function with its files in a folder of its own: what is missing there would be missing in Triton."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from serve_deploy.errors import InvalidModelError
from serve_deploy.files.temporary import make_temporary, remove_temporary
from serve_deploy.python_models.adapter.serve_calling import Caller, RefusedError, Tensor, load_function
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.python_models.model import Arrays


class StagedFunction:
    """A loaded function; its folder is removed with it."""

    def __init__(self, files: Mapping[str, bytes], file: str, name: str) -> None:
        """Import it; InvalidModelError says what its file raised."""
        self.place = f"{file}:{name}"
        self.folder = make_temporary("function")
        self._modules: dict[str, ModuleType] = {}
        self._finalizer = weakref.finalize(self, remove_temporary, self.folder)
        for path, content in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        with self.inside():
            try:
                self.function: Callable[..., Any] = load_function(self.folder, file, name)
            except (Exception, SystemExit) as error:
                raise self._explain(file, error) from error

    def _explain(self, file: str, error: BaseException) -> InvalidModelError:
        """What its file raised when it was imported, in one line."""
        missing = Path(str(getattr(error, "filename", None) or ""))
        if isinstance(error, FileNotFoundError) and missing.is_relative_to(self.folder):
            return InvalidModelError(
                f"{file} opens {missing.relative_to(self.folder)}, which does not go with it",
                hint="put it beside the file, and write its whole name in one string, so that it goes along",
            )
        return InvalidModelError(f"{file} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}")

    def bind(self, signature: ModelSignature, *, batched: bool, text: tuple[str, ...]) -> Callable[[Arrays], Arrays]:
        """The function between named arrays; it raises InvalidModelError with what the function says."""
        inputs, outputs = (
            tuple(_tensor(spec, text) for spec in specs) for specs in (signature.inputs, signature.outputs)
        )
        caller = Caller(self.function, inputs, outputs, batched)

        def run(arrays: Arrays) -> Arrays:
            with self.inside():
                try:
                    # Copies, as in Triton: a function may write into what it gets.
                    return caller({name: array.copy() for name, array in arrays.items()})
                except RefusedError as error:
                    raise InvalidModelError(f"{self.place}: {error}") from error

        return run

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Its own modules can be imported, and nobody else's of the same names; what it prints is lost."""
        before = set(sys.modules)
        sys.modules.update(self._modules)
        sys.path.insert(0, str(self.folder))
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # rows of a proof are meant to be odd
                yield
        finally:
            with contextlib.suppress(ValueError):
                sys.path.remove(str(self.folder))
            for name in set(sys.modules) - before:
                file = getattr(sys.modules[name], "__file__", None)
                if file and Path(file).is_relative_to(self.folder):
                    self._modules[name] = sys.modules.pop(name)


def _tensor(spec: TensorSpec, text: tuple[str, ...]) -> Tensor:
    strings = "str" if spec.name in text else "bytes"
    return Tensor(spec.name, strings if spec.data_type is DataType.BYTES else spec.data_type.numpy_name, spec.shape)
