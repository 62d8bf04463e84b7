"""The chart's values as types: values.yaml, values.schema.json and the chart's README are made from them."""

from serve_deploy.chart.values.root import ChartValues

__all__ = ["ChartValues"]
