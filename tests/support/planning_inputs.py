"""What docs/planning.md has its reader bring along: two sweeps, and the files that it shows."""

from __future__ import annotations

from pathlib import Path

from document_sessions import BLOCK, ROOT
from simulated_sweeps import digits_sweep

from serve_deploy import PackageOptions, package
from serve_deploy.repository.model_folder import read_models

# A batch's seconds, a row's, and the power under full load in W.
_SERVERS = {"l4": (0.004, 0.001, 70), "h100": (0.0015, 0.0004, 350)}


def write_planning_inputs(folder: Path) -> None:
    """The example's repository, a sweep of it on each of the servers, and the page's own prices and rates."""
    page = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")
    (prices,) = (body for language, body in BLOCK.findall(page) if language == "toml")
    _, rates = (body for language, body in BLOCK.findall(page) if language == "text")
    for name, text in {"prices.toml": prices, "rates.csv": rates}.items():
        (folder / name).write_text(text)
    package([ROOT / "examples" / "digits" / "digits.onnx"], PackageOptions(repository=folder / "models", verify=False))
    (model,) = read_models(folder / "models")
    for name, server in _SERVERS.items():
        sweep = digits_sweep(*server)
        target = sweep.target.model_copy(update={"model_config_sha256": model.config_sha256})
        (folder / f"{name}.json").write_text(sweep.model_copy(update={"target": target}).model_dump_json())
