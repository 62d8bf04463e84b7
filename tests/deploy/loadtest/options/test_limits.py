"""Numbers that no machine can carry out are refused in words, before anything begins."""

from __future__ import annotations

import math
from typing import Any

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.loadtest import (
    ClosedLoop,
    ConstantRate,
    LoadTestOptions,
    PoissonRate,
    Ramp,
    Search,
    parse_endpoint,
)  # fmt: skip
from serve_deploy.loadtest.options.limits import check_limits

ENDPOINT = parse_endpoint("http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"loads": (ConstantRate(1e18),)}, "`rate=1,000,000,000,000,000,000`: the most is 1,000,000,000"),
        ({"loads": (PoissonRate(2e9),)}, "`rate=2,000,000,000`"),
        ({"loads": (Ramp(0, 1e12),)}, "`ramp=1,000,000,000,000`"),
        ({"loads": (ClosedLoop(1_000_000),)}, "`concurrency=1,000,000`: the most is 65,535; a machine has no more"),
        ({"loads": Search(variable="rate", start=1, limit=1e12)}, "`rate="),
        ({"duration_seconds": 1e10}, "`duration_seconds=10,000,000,000`: .*30 years"),
        ({"timeout_seconds": math.inf}, "`timeout_seconds=inf` is not a finite number"),
        ({"warmup_seconds": math.nan}, "`warmup_seconds=nan` is not a finite number"),
        ({"processes": 100_000}, "`processes=100,000`: the most is 256"),
    ],
)
def test_too_much_is_refused_in_words(asked: dict[str, Any], message: str) -> None:
    """The message names the field, the number without an exponent, and the most that there is."""
    with pytest.raises(UsageError, match=message):
        check_limits(LoadTestOptions(endpoint=ENDPOINT, model="m", **asked))


@pytest.mark.parametrize(
    "asked",
    [
        {"loads": (ConstantRate(1e9), ClosedLoop(65_535))},
        {"duration_seconds": 1e9, "timeout_seconds": 1e9, "requests": 10**18, "repeat": 10**9},
    ],
)
def test_what_is_only_hopeless_is_allowed(asked: dict[str, Any]) -> None:
    """An overload and a run of years are carried out: they end on the clock, and by Ctrl-C."""
    check_limits(LoadTestOptions(endpoint=ENDPOINT, model="m", **asked))
