"""Read a typed function file into a Python model."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from serve_deploy.errors import InvalidModelError
from serve_deploy.python_models.annotations import read_annotations
from serve_deploy.python_models.model import PythonModel
from serve_deploy.python_models.requirements import find_requirements
from serve_deploy.python_models.source_code import SourceCode, choose_function, read_source
from serve_deploy.python_models.staged_function import StagedFunction
from serve_deploy.python_models.written import Call, lay_out

DEFAULT_MAX_BATCH_SIZE = 8
_RENAME = "give the file another name, such as post.py"


def read_function_file(
    path: Path, function: str | None = None, *, max_batch_size: int = DEFAULT_MAX_BATCH_SIZE
) -> PythonModel:
    """A function of a file, its only one if none is named; InvalidModelError says what cannot be served.

    The file is run once, from a copy beside which only what goes with it stands. `max_batch_size` is that of a
    function whose tensors begin with "batch".
    """
    code = read_source(_read(path), path.name)
    name = choose_function(code, function, path.name)
    carried = dict(_carry(path, code))
    beside = {Path(file).parts[0].removesuffix(".py") for file in carried if file.endswith(".py")}
    sources = [read_source(content, file) for file, content in carried.items() if file.endswith(".py")]
    _refuse_hiding(beside)
    requirements = find_requirements(
        [module for source in sources for module in source.imports],
        [module for source in sources for module in source.optional],
        beside,
        path.name,
    )
    staged = StagedFunction(carried, path.name, name)
    with staged.inside():
        found = read_annotations(staged.function, staged.place)
    batch = max_batch_size if found.batched else 0
    run = staged.bind(found.tensors, batched=batch > 0, text=found.text_inputs)
    files = lay_out(carried, Call(path.name, name, found.text_inputs), requirements)
    return PythonModel(staged.place, found.tensors, batch, files, run, requirements, symbols=found.symbols)


def _read(path: Path) -> bytes:
    if not path.stem.isidentifier():
        raise InvalidModelError(f"{path.name} cannot be imported by its name", hint=_RENAME)
    return _read_bytes(path)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}") from error


def _refuse_hiding(modules: Iterable[str]) -> None:
    hiding = sorted(module for module in modules if module in sys.stdlib_module_names)
    if hiding:
        raise InvalidModelError(f"{hiding[0]}.py hides Python's own module {hiding[0]}", hint=_RENAME)


def _carry(path: Path, code: SourceCode) -> Iterator[tuple[str, bytes]]:
    """The file itself, the modules beside it that it imports, and the files that its strings name."""
    folder, seen, waiting = path.parent, set[str](), [path]
    while waiting:
        file = waiting.pop()
        relative = file.relative_to(folder).as_posix()
        if relative in seen:
            continue
        seen.add(relative)
        content = _read_bytes(file)
        yield relative, content
        if file.suffix == ".py":
            found = code if file == path else read_source(content, relative)
            waiting += _named_files(folder, found)


def _named_files(folder: Path, code: SourceCode) -> Iterator[Path]:
    for module in (*code.imports, *code.optional):
        place = folder.joinpath(*module.split("."))
        if place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
        top = folder / module.split(".")[0]
        if (top / "__init__.py").is_file():
            yield from (file for file in sorted(top.rglob("*.py")))
    for text in code.strings:
        if not text.strip("/. ") or len(text) > 255 or "\n" in text or "\0" in text:
            continue
        named = folder / text
        if ".." in Path(text).parts or not named.is_relative_to(folder):
            continue
        if named.is_file():
            yield named
        elif text.endswith("/") and named.is_dir():
            yield from (file for file in sorted(named.rglob("*")) if file.is_file())
