"""Who may read a release."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from chart_objects import Objects, select

DOCUMENT = Path(__file__).parents[2] / "docs" / "chart.md"
Render = Callable[..., Objects]


def test_no_role_unless_asked_for(render: Render) -> None:
    """Who installs the chart may not be allowed to give rights away."""
    objects = render()
    assert select(objects, "Role") + select(objects, "RoleBinding") == []


def test_the_role_is_the_documented_one(render: Render) -> None:
    """What docs/chart.md gives to copy is what the chart creates."""
    text = DOCUMENT.read_text(encoding="utf-8").partition("```yaml\napiVersion: rbac")[2].partition("```")[0]
    documented = yaml.safe_load("apiVersion: rbac" + text)
    (role,) = select(render({"rbac": {"viewer": {"create": True}}}), "Role")
    assert role["rules"] == documented["rules"]
    assert role["metadata"]["name"] == documented["metadata"]["name"]


def test_subjects_get_the_role(render: Render) -> None:
    """A ServiceAccount without a namespace is the release's."""
    subjects = [{"kind": "Group", "name": "ml"}, {"kind": "ServiceAccount", "name": "ci"}]
    (binding,) = select(render({"rbac": {"viewer": {"create": True, "subjects": subjects}}}), "RoleBinding")
    assert binding["roleRef"]["name"] == "demo-triton-viewer"
    assert [each.get("namespace") for each in binding["subjects"]] == [None, "models"]
