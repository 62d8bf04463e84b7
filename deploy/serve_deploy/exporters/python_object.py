"""A model named by where it stands in Python code, such as net.py:model; reading it runs that code."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from serve_deploy.errors import InvalidModelError, ServeError
from serve_deploy.extras import install_command

_EXTRAS = {"torch": "torch", "onnxscript": "torch", "sklearn": "sklearn", "skl2onnx": "sklearn"}


@dataclass(frozen=True)
class ObjectName:
    """A file or an importable module, and the attribute in it."""

    module: str
    attribute: str

    @property
    def is_file(self) -> bool:
        """Whether the module is a file, and not a name to import."""
        return self.module.endswith(".py")

    @property
    def file_name(self) -> str:
        """The name of the module's own file."""
        return Path(self.module).name if self.is_file else f"{self.module.rpartition('.')[2]}.py"

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"


def parse_object_name(text: str) -> ObjectName | None:
    """Read `net.py:model` or `package.net:model`; None for anything else, and for a file that is called so."""
    found = re.fullmatch(r"(?:(.+\.py)|((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)):([A-Za-z_]\w*)", text)
    if found is None or Path(text).exists():
        return None
    return ObjectName(found[1] or found[2], found[3])


def is_function_of_arrays(name: ObjectName) -> bool:
    """Whether the attribute is a function with parameters, as the file says: no code is run."""
    path = Path(name.module)
    if not name.is_file or not path.is_file():
        return False
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return False  # importing it says what is wrong
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name.attribute:
            given = node.args
            return bool(given.posonlyargs or given.args or given.kwonlyargs)
    return False


def load_object(name: ObjectName) -> Any:
    """The attribute, after its module was run; InvalidModelError where that fails or there is none."""
    path = Path(name.module)
    if name.is_file and not path.is_file():
        raise InvalidModelError(f"{path} does not exist", hint="check the path of the file before the colon")
    folder = path.resolve().parent if name.is_file else Path.cwd()
    with running(f"{name.module} cannot be imported"), _importing_from(folder):
        module = _run_file(path) if name.is_file else importlib.import_module(name.module)
    try:
        return getattr(module, name.attribute)
    except AttributeError:
        there = [each for each, value in vars(module).items() if _is_own(each, value, module.__name__)]
        raise InvalidModelError(
            f"{name.module} has no '{name.attribute}'", hint=f"it has: {', '.join(there) or 'nothing'}"
        ) from None


def _is_own(name: str, value: Any, module: str) -> bool:
    """Whether it is for others and made here: no module, and no class or function of another one."""
    made_elsewhere = isinstance(value, type | FunctionType) and value.__module__ != module
    return not (name.startswith("_") or isinstance(value, ModuleType) or made_elsewhere)


@contextmanager
def running(what: str) -> Iterator[None]:
    """Run code of the user's or of a framework: its prints go to stderr, its errors are InvalidModelErrors."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except ServeError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name:
            raise InvalidModelError(
                f"{what}: the package {error.name} is not installed", hint=_install_hint(error.name)
            ) from error
        raise InvalidModelError(f"{what}: {last_line(error)}", hint=_find_line(error)) from error


def last_line(error: BaseException) -> str:
    """An error's class and the last line of its text."""
    return _one_line(error, -1)


def first_line(error: BaseException) -> str:
    """An error's class and the first line of its text."""
    return _one_line(error, 0)


def _one_line(error: BaseException, index: int) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[index][:300]}" if lines else type(error).__name__


def _find_line(error: BaseException) -> str:
    """Where the user's own code went wrong, as far as it was in it."""
    ours = str(Path(__file__).parents[1])
    frames = [each for each in traceback.extract_tb(error.__traceback__) if Path(each.filename).is_file()]
    own = [each for each in frames if "site-packages" not in each.filename and not each.filename.startswith(ours)]
    return f"see {own[-1].filename}, line {own[-1].lineno}" if own else "run it in Python, which shows where"


def _install_hint(package: str) -> str:
    extra = _EXTRAS.get(package.split(".", maxsplit=1)[0])
    return f"install it: {install_command(extra)}" if extra else "install it where serve is installed"


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _run_file(path: Path) -> ModuleType:
    known = sys.modules.get(path.stem)
    if known is not None and Path(str(getattr(known, "__file__", ""))).resolve() == path.resolve():
        return known
    # What is pickled in the file names its classes by it; and no module of another's may be hidden.
    name = path.stem if known is None else f"serve_source_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
