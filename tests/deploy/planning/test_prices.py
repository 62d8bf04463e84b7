"""The user's prices: a TOML file, refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.planning.prices import read_prices


def test_prices_are_read(tmp_path: Path) -> None:
    """A currency, and the price of an hour for each profile."""
    (tmp_path / "prices.toml").write_text('currency = "EUR"\n[per_hour]\nl4 = 0.8\n"a100 spot" = 2\n')
    prices = read_prices(tmp_path / "prices.toml")
    assert (prices.currency, prices.per_hour) == ("EUR", {"l4": 0.8, "a100 spot": 2.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"l4 = ", "is not TOML: Invalid value (at"),
        (b'currency = "EUR"', "per_hour: "),
        (b"[per_hour]\nl4 = 1", "currency: "),
        (b'currency = "EUR"\n[per_hour]\nl4 = -1', "per_hour.l4: "),
        (b'currency = "EUR"\n[per_hour]\nl4 = "cheap"', "per_hour.l4: "),
        (b'currency = "EUR"\n[per_hour]\nl4 = inf', "per_hour.l4: "),
        (b"\xff", "is not text in UTF-8"),
    ],
)
def test_what_is_no_list_of_prices_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    """The message names the file and the key."""
    (tmp_path / "prices.toml").write_bytes(text)
    with pytest.raises(UsageError) as refused:
        read_prices(tmp_path / "prices.toml")
    assert "prices.toml" in refused.value.message
    assert message in refused.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """It says that there is none."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_prices(tmp_path / "none.toml")
