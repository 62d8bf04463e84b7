"""How big a model the chart can carry: Helm keeps a release in one Secret of at most 1 MiB."""

from __future__ import annotations

import base64
import gzip
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from chart_cases import CHART

SECRET_BYTES = 1024 * 1024
CARRIED_BYTES = 330_000  # as the README says


def release_bytes(chart: Path, manifest: str) -> int:
    """The size of the release as Helm encodes it: JSON with every file of the chart, gzip, base64."""
    files = [path for path in chart.rglob("*") if path.is_file() and "ci" not in path.relative_to(chart).parts]
    encoded = [
        {"name": str(path.relative_to(chart)), "data": base64.b64encode(path.read_bytes()).decode()} for path in files
    ]
    document = json.dumps({"chart": {"files": encoded}, "manifest": manifest})
    return len(base64.b64encode(gzip.compress(document.encode(), 9)))


def test_a_model_of_the_documented_size_fits(
    helm: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Weights, which do not compress, of the size that the README names fit into the release beside the chart."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    folder = chart / "files" / "models" / "large" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(random.Random(1).randbytes(CARRIED_BYTES))
    shutil.rmtree(chart / "files" / "example-model")
    result = helm("template", "demo", chart, values={"modelRepository": {"carried": {"path": "files/models"}}})
    assert result.returncode == 0, result.stderr
    assert release_bytes(chart, result.stdout) < SECRET_BYTES
