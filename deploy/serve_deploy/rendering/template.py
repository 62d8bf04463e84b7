"""The pages' template engine, set up alike for all of them."""

from __future__ import annotations

from typing import Any


def render_template(package: str, name: str, **content: Any) -> str:
    """A page from the templates of a package, which may include those of this room; HTML in `content` is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("serve_deploy.rendering")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**content).rstrip() + "\n"
