"""One default Triton release for everything that names one."""

from __future__ import annotations

from pathlib import Path

import yaml

from serve_deploy.releases import DEFAULT_RELEASE, find_release

ROOT = Path(__file__).parents[2]


def test_the_chart_runs_the_release_that_models_are_packaged_for():
    """A model checked against one release must not land on another."""
    chart = yaml.safe_load((ROOT / "charts/triton/Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == DEFAULT_RELEASE


def test_the_default_release_is_one_whose_limits_are_known():
    """Its IR and opset limits were seen, not extrapolated."""
    assert find_release(DEFAULT_RELEASE).onnxruntime_version == "1.27.0"
