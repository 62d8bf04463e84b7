"""`import serve_deploy` is the library's front door: every public name loads, sorted, and only when it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import serve_deploy


@pytest.mark.parametrize("name", serve_deploy.__all__)
def test_a_public_name_loads_and_is_explained(name: str) -> None:
    """Whatever is exported exists and has a docstring."""
    assert inspect.getdoc(getattr(serve_deploy, name))


def test_type_checkers_see_the_same_names() -> None:
    """What is imported for type checkers is what is loaded lazily, in alphabetical order."""
    tree = ast.parse(inspect.getsource(serve_deploy))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: f"{node.module}:{alias.name}" for node in block.body for alias in node.names}
    places = {name: place.partition(":") for name, place in serve_deploy._PLACES.items()}
    lazy = {name: f"serve_deploy.{module}:{own or name}" for name, (module, _, own) in places.items()}
    assert seen == lazy
    assert serve_deploy.__all__ == sorted(lazy)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not exported is refused as any module refuses it."""
    with pytest.raises(AttributeError, match="no attribute 'unheard_of'"):
        _ = serve_deploy.unheard_of


def test_importing_the_package_loads_nothing_heavy() -> None:
    """The import alone loads no third-party library."""
    probe = "import sys; before = set(sys.modules); import serve_deploy; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    libraries = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert libraries == {"serve_deploy"}
