"""Which distributions a function file needs: what it imports, as installed here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec

from serve_deploy.errors import InvalidModelError

# What the Python of Triton's container has.
_THERE = frozenset({*sys.stdlib_module_names, "numpy", "triton_python_backend_utils"})


def find_requirements(imports: Iterable[str], beside: Iterable[str], name: str) -> tuple[str, ...]:
    """Such as `Pillow==11.3.0`, the versions installed here; InvalidModelError names what is not installed.

    `beside` are the modules that stand in the file's folder.
    """
    known = _THERE | set(beside)
    wanted = dict.fromkeys(top for module in imports if (top := module.partition(".")[0]) not in known)
    installed = _installed()
    missing = [top for top in wanted if top not in installed and find_spec(top) is None]
    if missing:
        raise InvalidModelError(
            f"{name} imports {', '.join(missing)}, which is not installed here"
            if len(missing) == 1
            else f"{name} imports {', '.join(missing)}, which are not installed here",
            hint=f"install what provides it into this environment: {sys.executable} -m pip install …",
        )
    if "serve_deploy" in wanted or "serve_cli" in wanted:
        raise InvalidModelError(f"{name} imports serve, which is not where Triton runs it")
    found = {distribution for top in wanted for distribution in installed.get(top, ())[:1]}
    return tuple(sorted((f"{distribution}=={version(distribution)}" for distribution in found), key=str.lower))


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()  # reads every distribution there is
