"""What the autoscaler is told."""

from __future__ import annotations

import pytest

from serve_deploy.autoscaling.targets import down_windows, scale_down_rules, window_seconds


@pytest.mark.parametrize(("cold_start", "window"), [(10, 300), (150, 300), (400, 800), (3000, 3600)])
def test_scale_down_window_follows_the_cold_start(cold_start: float, window: int) -> None:
    """Twice the cold start, at least 300 s, and never more than the API's 3600 s."""
    assert scale_down_rules(cold_start).stabilization_seconds == window


@pytest.mark.parametrize(("cold_start", "windows"), [(10, [300, 600, 1200, 2400, 3600]), (3000, [3600])])
def test_longer_scale_down_windows_double_to_an_hour(cold_start: float, windows: list[int]) -> None:
    """Never beyond the API's 3600 s."""
    assert list(down_windows(cold_start)) == windows


def test_windows() -> None:
    """A minute, or 3 times the p99."""
    assert (window_seconds(), window_seconds(10), window_seconds(40)) == (60, 60, 120)
