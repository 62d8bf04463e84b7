"""values.schema.json from ChartValues: draft 7, without references, nothing unknown allowed."""

from __future__ import annotations

import copy
from typing import Any

from serve_deploy.chart.values.root import ChartValues

_NOISE = ("title", "default")


def build_schema() -> dict[str, Any]:
    """Return the schema that helm checks values against."""
    raw = ChartValues.model_json_schema(by_alias=True)
    definitions = raw.pop("$defs", {})
    schema = _simplify(raw, definitions)
    # YAML reads an unquoted `off` as false, and helm checks what YAML has read.
    mode = schema["properties"]["autoscaling"]["properties"]["mode"]
    mode.pop("type")
    mode["enum"].append(False)
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "charts/triton", **schema}


def _simplify(node: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_simplify(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = dict(node)
    if reference := node.pop("$ref", None):
        target = copy.deepcopy(definitions[reference.rsplit("/", 1)[1]])
        node = {**target, **node}
    simple = {key: _simplify(value, definitions) for key, value in node.items() if key not in _NOISE}
    if "properties" in node:
        simple["properties"] = {key: _simplify(value, definitions) for key, value in node["properties"].items()}
    return simple
