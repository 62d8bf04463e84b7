"""The chart's rules, evaluated by promtool on series that a test makes up."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from prometheus import tool

Series = dict[str, str]


def render_rules(render: Callable[..., list[dict[str, Any]]], path: Path, values: dict[str, Any]) -> Path:
    """The groups of the chart's PrometheusRule as a rule file of Prometheus."""
    (rule,) = (item for item in render(values) if item["kind"] == "PrometheusRule")
    path.write_text(yaml.safe_dump(rule["spec"], sort_keys=False))
    return path


def read_groups(rules: Path) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(rules.read_text())["groups"]
    return groups


def expect_values(rules: Path, folder: Path, series: Series, at: str, expected: dict[str, dict[str, float]]) -> None:
    """Compare each query with its values by label, at a time; what is no record has no labels."""
    tests = [
        {
            "expr": query,
            "eval_time": at,
            "exp_samples": [
                {"labels": f"{query}{{{labels}}}" if query.startswith("triton:") else "{}", "value": value}
                for labels, value in samples.items()
            ],
        }
        for query, samples in expected.items()
    ]
    done = run_promtool(rules, folder, series, {"promql_expr_test": tests})
    assert done.returncode == 0, done.stdout + done.stderr


def find_firing(rules: Path, folder: Path, series: Series, at: str) -> set[str]:
    """The names of the alerts that fire at a time, by promtool's own account of what differs from none."""
    test = {"promql_expr_test": [{"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": at}]}
    done = run_promtool(rules, folder, series, test)
    names = set(re.findall(r'alertname="(\w+)"', done.stdout + done.stderr))
    assert names or done.returncode == 0, done.stdout + done.stderr
    return names


def run_promtool(rules: Path, folder: Path, series: Series, test: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run one test of promtool over series that are scraped every 15 s."""
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": "15s",
        "group_eval_order": ["demo-triton.records", "demo-triton.alerts"],
        "tests": [{"interval": "15s", "input_series": inputs, **test}],
    }
    path = folder / "test.yaml"
    path.write_text(yaml.safe_dump(document))
    return subprocess.run([tool("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False)
