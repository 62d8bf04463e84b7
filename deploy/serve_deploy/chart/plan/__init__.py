"""Derive a chart's values from a model repository."""

from serve_deploy.chart.plan.plan import merge_values, plan_chart
from serve_deploy.chart.plan.request import ChartPlan, ChartRequest, DerivedValue

__all__ = ["ChartPlan", "ChartRequest", "DerivedValue", "merge_values", "plan_chart"]
