"""Write what is generated in charts/triton: values.yaml, its schema, the README, GPU profiles and the example model.

Usage: python scripts/generate_chart.py [--check]
The source is deploy/serve_deploy (chart_values, gpu_profiles) and examples/digits; --check only reports what is stale.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from serve_deploy.chart.values import ChartValues
from serve_deploy.chart.values.documentation import document_values, render_values_yaml
from serve_deploy.chart.values.scaling import Metrics
from serve_deploy.gpu_profiles import CLOUDS, PROFILES, profiles_document

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "triton"
DIGITS = ROOT / "examples" / "digits"
METRICS = Metrics()
ADAPTER_SERIES = {"concurrency": "nv_inference_request_duration_us", "pending": "nv_inference_pending_request_count"}
SCHEMA_NOISE = ("title", "default")
LABELS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def render_example_config() -> str:
    """Return the example's config.pbtxt; every tensor is listed, so that nothing depends on auto-complete."""
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    config = pb.ModelConfig(name="digits", backend="onnxruntime", max_batch_size=16)
    config.input.add(name="image", data_type=pb.TYPE_FP32, dims=[1, 8, 8])
    config.output.add(name="probabilities", data_type=pb.TYPE_FP32, dims=[10], label_filename="labels.txt")
    config.instance_group.add(count=1)
    config.dynamic_batching.SetInParent()
    return str(text_format.MessageToString(config))


def render_example_request() -> str:
    """Return the inference that `helm test` sends: one image, and the class that the model must give it."""
    image = np.load(DIGITS / "image.npy").astype(np.float32).reshape(1, 1, 8, 8)
    tensor = {
        "name": "image",
        "datatype": "FP32",
        "shape": list(image.shape),
        "data": [round(float(value), 4) for value in image.ravel()],
    }
    outputs = [{"name": "probabilities", "parameters": {"classification": 1}}]
    body = json.dumps({"inputs": [tensor], "outputs": outputs}, separators=(",", ":"))
    digit = int(np.load(DIGITS / "digits.npy")[0])
    return json.dumps({"model": "digits", "body": body, "expect": f":{digit}:{LABELS[digit]}"}, indent=2) + "\n"


def build_schema() -> dict[str, Any]:
    """Return the schema that helm checks values against: draft 7, without references, nothing unknown allowed."""
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
    simple = {key: _simplify(value, definitions) for key, value in node.items() if key not in SCHEMA_NOISE}
    if "properties" in node:
        simple["properties"] = {key: _simplify(value, definitions) for key, value in node["properties"].items()}
    return simple


def render_values_table() -> str:
    """Return the README's table of values."""
    rows = ["| Value | Default | What it is for |", "|---|---|---|"]
    for item in document_values():
        path = ".".join(item.path)
        if item.group:
            rows.append(f"| **`{path}`** | | {_cell(item.description)} |")
        else:
            rows.append(
                f"| `{path}` | `{_cell(json.dumps(item.default, ensure_ascii=False))}` | {_cell(item.description)} |"
            )
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def render_gpu_table() -> str:
    """Return the README's table of GPU profiles."""
    rows = ["| `gpu.profile` | GB | architecture | clouds | MIG slices |", "|---|---|---|---|---|"]
    for name, profile in PROFILES.items():
        slices = ", ".join(profile.mig) or "–"
        clouds = ", ".join(profile.clouds())
        rows.append(f"| `{name}` | {profile.memory_gb} | {profile.architecture} | {clouds} | {slices} |")
    return "\n".join(rows) + f"\n\nClouds: {', '.join(f'`{cloud}`' for cloud in CLOUDS)}, or empty.\n"


def render_adapter_rules() -> str:
    """Return prometheus-adapter's values with the rules of the chart's ConfigMap, indented for the README."""
    rules = [
        {
            "seriesQuery": f"{series}{{namespace!='',pod!=''}}",
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "name": {"as": f"triton_{name}"},
            "metricsQuery": _adapter_query(name),
        }
        for name, series in ADAPTER_SERIES.items()
    ]
    text = yaml.safe_dump({"rules": {"custom": rules}}, sort_keys=False, width=1000)
    return textwrap.indent(text.rstrip(), "  ")


def _adapter_query(name: str) -> str:
    text = (CHART / "files" / "formulas" / f"{name}.promql").read_text(encoding="utf-8")
    parts = {
        "__BY__": "<<.GroupBy>>", "__SELECTOR__": "<<.LabelMatchers>>", "__MODELS__": ".+",
        "__GUARD_WINDOW__": METRICS.guard_window, "__WINDOW__": METRICS.window,
    }  # fmt: skip
    for placeholder, part in parts.items():
        text = text.replace(placeholder, part)
    return " ".join(" ".join(line for line in text.splitlines() if not line.startswith("#")).split())


def render_modes() -> str:
    """Return the names of the files in ci/, each with what its first comment says."""
    lines = []
    for path in sorted((CHART / "ci").glob("*.yaml")):
        comments = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
        sentence = " ".join(comment.removeprefix("# ") for comment in comments).split(". ")[0].rstrip(".")
        lines.append(f"- [{path.name}](ci/{path.name}): {sentence}.")
    return "\n".join(lines)


def render_readme() -> str:
    """Return the chart's README: the prose of chart_readme.md, with the tables filled in."""
    text = (ROOT / "scripts" / "chart_readme.md").read_text(encoding="utf-8")
    parts = {
        "@VALUES@": render_values_table(),
        "@GPUS@": render_gpu_table(),
        "@ADAPTER@": render_adapter_rules(),
        "@MODES@": render_modes(),
    }
    for placeholder, part in parts.items():
        text = text.replace(placeholder, part)
    return text.rstrip() + "\n"


def render_files() -> dict[Path, bytes]:
    """Return every generated file with its content."""
    profiles = "# Generated from serve_deploy.gpu_profiles by `make chart-docs`.\n" + yaml.safe_dump(
        profiles_document(), sort_keys=False
    )
    texts = {
        "values.yaml": render_values_yaml(),
        "values.schema.json": json.dumps(build_schema(), indent=1, ensure_ascii=False) + "\n",
        "README.md": render_readme(),
        "files/gpu-profiles.yaml": profiles,
        "files/example-model/digits/config.pbtxt": render_example_config(),
        "files/example-model/digits/labels.txt": "\n".join(LABELS) + "\n",
        "files/example-request.json": render_example_request(),
    }
    files = {CHART / name: text.encode() for name, text in texts.items()}
    files[CHART / "files/example-model/digits/1/model.onnx"] = (DIGITS / "digits.onnx").read_bytes()
    return files


def main() -> None:
    """Write the files, or report the stale ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="report stale files, write nothing")
    check = parser.parse_args().check
    files = render_files()
    stale = [path for path, data in files.items() if not path.is_file() or path.read_bytes() != data]
    for path in stale:
        print(("stale: " if check else "wrote ") + str(path.relative_to(ROOT)))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[path])
    if check and stale:
        sys.exit("run `make chart-docs` and commit the result")


if __name__ == "__main__":
    main()
