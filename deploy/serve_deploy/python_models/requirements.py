"""Which distributions a function file needs: what it imports, as installed here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import files, packages_distributions, version
from importlib.util import find_spec

from serve_deploy.errors import InvalidModelError

# What the Python of Triton's container has.
_THERE = frozenset({*sys.stdlib_module_names, "numpy", "triton_python_backend_utils"})


def find_requirements(
    imports: Iterable[str], optional: Iterable[str], beside: Iterable[str], name: str
) -> tuple[str, ...]:
    """Such as `Pillow==11.3.0`, the versions installed here; InvalidModelError names what is not installed.

    `optional` modules count where they are installed; `beside` are the modules that stand in the file's folder.
    """
    known = _THERE | set(beside)
    wanted = [module for module in imports if _top(module) not in known]
    if any(_top(module).startswith("serve_") and find_spec(_top(module)) for module in wanted):
        raise InvalidModelError(f"{name} imports serve, which is not where Triton runs it")
    missing = sorted({_top(module) for module in wanted if not _providers(module)})
    if missing:
        verb = "is neither installed here nor a file beside it" if len(missing) == 1 else "are not installed here"
        raise InvalidModelError(
            f"{name} imports {', '.join(missing)}, which {verb}",
            hint=f"install what provides it into this environment: {sys.executable} -m pip install …",
        )
    useful = [module for module in optional if _top(module) not in known]
    found = {provider for module in (*wanted, *useful) for provider in _providers(module)}
    return tuple(sorted((f"{distribution}=={version(distribution)}" for distribution in found), key=str.lower))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _providers(module: str) -> list[str]:
    """The distributions that bring a module: of a namespace that several share, those that have this part of it."""
    sharing = _installed().get(_top(module), [])
    if len(sharing) < 2:
        return sharing
    path = module.replace(".", "/")
    having = [each for each in sharing if any(str(file).startswith(path) for file in files(each) or ())]
    return having[:1] or sharing[:1]


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads every distribution there is
