"""What a function file says without running it: its functions, what it imports, and the files that it names. Pure."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass

from serve_deploy.errors import InvalidModelError


@dataclass(frozen=True)
class SourceCode:
    """The public functions at the top of a file, the modules that it imports, and its strings that could name files.

    What is imported from a module is listed as `module.name`, since it may be a module, too.

    `optional` are modules that it does without where they are missing.
    """

    functions: tuple[str, ...]
    imports: tuple[str, ...]
    optional: tuple[str, ...]
    strings: tuple[str, ...]


def read_source(content: bytes, name: str) -> SourceCode:
    """Read a Python file; InvalidModelError where it is not Python."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as error:
        where = f"{name}, line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else name
        raise InvalidModelError(f"{where}: this is not Python {_version()}: {error.args[0]}") from error
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    imports, optional = dict[str, None](), dict[str, None]()
    _collect_imports(tree, imports, optional)
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    strings = dict.fromkeys(text for text in texts if isinstance(text, str))
    return SourceCode(
        tuple(functions), tuple(imports), tuple(name for name in optional if name not in imports), tuple(strings)
    )


def _collect_imports(node: ast.AST, imports: dict[str, None], optional: dict[str, None]) -> None:
    """Sort the modules that are imported below a node by whether the file needs them."""
    if isinstance(node, ast.Import):
        imports.update(dict.fromkeys(alias.name for alias in node.names))
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        imports.update(dict.fromkeys([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]))
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for other in node.orelse:
            _collect_imports(other, imports, optional)
    else:
        tried = node.body if isinstance(node, ast.Try) and any(map(_forgives, node.handlers)) else []
        for child in ast.iter_child_nodes(node):
            _collect_imports(child, optional if child in tried else imports, optional)


def _forgives(handler: ast.ExceptHandler) -> bool:
    """Whether the file goes on where an import fails."""
    caught = "Exception" if handler.type is None else ast.unparse(handler.type)
    return any(name in caught for name in ("ImportError", "ModuleNotFoundError", "Exception"))


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def choose_function(code: SourceCode, name: str | None, file: str) -> str:
    """The function asked for, or the only one; InvalidModelError where there is none, or more than one."""
    listed = ", ".join(code.functions)
    if name is not None and name not in code.functions:
        hint = f"it has {listed}" if listed else "it has no function at its top level"
        raise InvalidModelError(f"{file} has no function '{name}'", hint=hint)
    if name is None and len(code.functions) != 1:
        if not code.functions:
            raise InvalidModelError(f"{file} has no function", hint="write one at the top level, without a leading _")
        raise InvalidModelError(
            f"{file} has {len(code.functions)} functions: {listed}",
            hint=f"name one, as in {file}:{code.functions[-1]}, or start the others' names with _",
        )
    return name or code.functions[0]
