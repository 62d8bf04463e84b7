"""How long is measured, and what is too little to be measured."""

from __future__ import annotations

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.tuning.measuring.settings import period_seconds, require_arrivals
from serve_deploy.tuning.task.options import TuneOptions


def test_few_arrivals_are_measured_for_longer() -> None:
    """Twenty of them, and no more than 10 s, unless more are asked for."""
    usual, longer = TuneOptions(), TuneOptions(period_seconds=30)
    assert [period_seconds(usual, (), rate) for rate in (None, 100.0, 5.0, 0.5)] == [1, 1, 4, 10]
    assert period_seconds(longer, (), 0.5) == 30


def test_a_rate_without_arrivals_is_refused() -> None:
    """A p99 of five requests is the slowest of five; at 1/s there are ten in ten seconds."""
    require_arrivals(TuneOptions(), 1.0)
    with pytest.raises(UsageError, match="too few requests") as refused:
        require_arrivals(TuneOptions(), 0.5)
    assert "`period_seconds=40`" in (refused.value.hint or "")
    require_arrivals(TuneOptions(period_seconds=40), 0.5)
