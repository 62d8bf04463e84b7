"""Open a store in a Python that can import nothing but what this package and one of its extras bring."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import packages_distributions, requires
from typing import Any

from packaging.requirements import Requirement

ADDRESSES = {
    "s3": "s3://http://127.0.0.1:9/bucket/models",
    "gs": "gs://bucket/models",
    "azure": "as://account/box/models",
}
OURS = {"serve_cli", "serve_deploy"}


def normalize(name: str) -> str:
    """As PyPI compares names."""
    return name.lower().replace("_", "-").replace(".", "-")


def find_needed(name: str, extras: list[str]) -> set[str]:
    """Every distribution that one needs, and what those need."""
    known: set[tuple[str, tuple[str, ...]]] = set()
    todo = [(normalize(name), tuple(extras))]
    while todo:
        entry = todo.pop()
        if entry in known:
            continue
        known.add(entry)
        for text in requires(entry[0]) or []:
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": each}) for each in ("", *entry[1])):
                todo.append((normalize(need.name), tuple(sorted(need.extras))))
    return {each for each, _ in known}


class Hidden:
    """Imports of what was not asked for fail."""

    def __init__(self, needed: set[str]) -> None:
        self.modules = {
            module
            for module, names in packages_distributions().items()
            if not needed & {normalize(name) for name in names}
        } - OURS

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"{name} is hidden")


def main(extra: str) -> None:
    """Open its store, or for registries import what speaks to them."""
    sys.meta_path.insert(0, Hidden(find_needed("triton-serve", [extra])))
    from serve_deploy.stores.address import parse_address
    from serve_deploy.stores.backends.opening import open_store

    if extra == "oci":
        importlib.import_module("serve_deploy.stores.oci.connection")
        importlib.import_module("oras.provider")
    else:
        open_store(parse_address(ADDRESSES[extra]))


if __name__ == "__main__":
    main(sys.argv[1])
