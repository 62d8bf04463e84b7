"""What a config.json with values of the wrong kind is refused with, instead of a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from serve_deploy.errors import InvalidModelError


@contextmanager
def wrong_kinds() -> Iterator[None]:
    """InvalidModelError where a text stands for a number, a list for a mapping, or a number is beyond any model."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError) as error:
        raise InvalidModelError(
            f"config.json has a value of the wrong kind: {error}", hint="download it again, or correct it"
        ) from error
