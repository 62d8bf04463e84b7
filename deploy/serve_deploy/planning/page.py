"""A plan as one self-contained HTML page, in the style of the load-test reports."""

from __future__ import annotations

from collections.abc import Iterator

from serve_deploy.planning.charts import draw_charts
from serve_deploy.planning.result import DeploymentPlan
from serve_deploy.planning.tables import CURVE_COLUMNS, curve_rows, describe_traffic, explain, profile_table
from serve_deploy.rendering.template import render_template


def render_page(result: DeploymentPlan) -> str:
    """Write the page."""
    columns, rows = profile_table(result)
    return render_template(
        "serve_deploy.planning",
        "plan.html.j2",
        title=f"Plan for {_models(result)}",
        result=result,
        traffic=describe_traffic(result),
        columns=columns,
        rows=rows,
        curve_columns=CURVE_COLUMNS,
        curve_rows=list(curve_rows(result)),
        charts=draw_charts(result),
        profiles=[(each.profile, list(explain(each))) for each in result.profiles],
        facts=tuple(_facts(result)),
    )


def _models(result: DeploymentPlan) -> str:
    return " and ".join(dict.fromkeys(model.model for each in result.profiles for model in each.models))


def _facts(result: DeploymentPlan) -> Iterator[tuple[str, str]]:
    yield "load", describe_traffic(result)
    if result.traffic.trace:
        yield "trace", result.traffic.trace
    yield "autoscaler", {"hpa": "HorizontalPodAutoscaler", "keda": "KEDA"}[result.autoscaling]
    for each in result.profiles:
        if each.price_per_hour is not None:
            yield f"price of {each.profile}", f"{each.price_per_hour:g} {result.currency} a replica and hour"
    yield from (("note", note) for note in result.notes)
