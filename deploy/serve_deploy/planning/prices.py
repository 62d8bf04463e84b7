"""What a replica costs an hour, by hardware profile: the user's file, since prices are theirs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from serve_deploy.errors import UsageError
from serve_deploy.refused_values import say_plainly
from serve_deploy.reports.document import Document

_HINT = 'such as: currency = "EUR", then [per_hour], then a line for each profile: l4 = 0.80'


class Prices(Document):
    """The price of a replica's hour by profile, in one currency."""

    currency: Annotated[str, Field(min_length=1)]
    per_hour: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


def read_prices(path: Path) -> Prices:
    """Read a file of prices; UsageError says what is wrong in it, and where."""
    try:
        return Prices.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"`prices={path}` cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`prices={path}` is not text in UTF-8", hint=_HINT) from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"`prices={path}` is not TOML: {error}", hint=_HINT) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"`prices={path}`: {where}: {say_plainly(first['msg'])}", hint=_HINT) from error
