"""`serve plan`, and the chart of a plan, as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from repositories import add_model
from simulated_sweeps import digits_sweep
from sweeps import TARGET, report

from serve_deploy.reports.report import LoadTestReport, NamedReport, ReportSet
from serve_deploy.repository.model_folder import read_models

Serve = Callable[..., "CompletedProcess[str]"]
TOOLS = Path(__file__).parents[2] / ".tools"
PRICES = '# What one replica costs an hour.\ncurrency = "EUR"\n\n[per_hour]\nl4 = 0.8\nh100 = 3.5\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "l4.json").write_text(digits_sweep(0.004, 0.001, 70).model_dump_json())
    (tmp_path / "fast.json").write_text(digits_sweep(0.0015, 0.0004, 350).model_dump_json())
    (tmp_path / "prices.toml").write_text(PRICES)
    return tmp_path


def test_two_profiles_side_by_side(serve: Serve, folder: Path, golden: Callable[[str, str], None]) -> None:
    """Replicas, targets, what misses the objective, replica-hours, money and energy, and where they come from."""
    done = serve(
        "plan", "l4.json", "h100=fast.json", "--base", "100", "--peak", "4000", "--slo", "p99<50ms",
        "--cold-start", "150",
        "--prices", "prices.toml", "-o", "plan.html", "-o", "plan.csv", "-o", "plan.txt", cwd=folder,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    golden("planning/plan.txt", done.stdout)
    golden("planning/plan.csv", (folder / "plan.csv").read_text())
    assert (folder / "plan.txt").read_text() == done.stdout.replace("--slo", "slo").replace(
        "--cold-start", "cold_start_seconds"
    )
    page = (folder / "plan.html").read_text()
    assert "`" not in page
    assert page.count("<svg") == 2 * 5
    assert "http" not in page.replace("http-equiv", "").replace("http://127.0.0.1:8000", "")
    assert "EUR a million inferences" in page


def test_columns_says_how_wide_a_plan_is_in_a_pipe(serve: Serve, folder: Path) -> None:
    """No line is longer, of tables and of sentences."""
    done = serve(
        "plan", "l4.json", "--base", "100", "--peak", "400", "--slo", "p99<50ms", "--cold-start", "150",
        cwd=folder, env=os.environ | {"COLUMNS": "60"},
    )  # fmt: skip
    assert max(map(len, done.stdout.splitlines())) <= 60


def test_json_is_the_plan_that_a_file_holds(serve: Serve, folder: Path) -> None:
    """stdout is the same document, and nothing else."""
    done = serve(
        "plan",
        "l4.json",
        "--base",
        "100",
        "--peak",
        "900",
        "--slo",
        "p99<50ms",
        "--json",
        "-o",
        "plan.json",
        cwd=folder,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == json.loads((folder / "plan.json").read_text())


def test_a_plan_becomes_a_chart_that_renders(serve: Serve, tmp_path: Path) -> None:
    """From the sweep to the HorizontalPodAutoscaler that helm renders: its replicas and targets are the plan's."""
    if not (TOOLS / "helm").exists():
        pytest.skip("helm is missing: make tools")
    add_model(tmp_path / "models")
    (model,) = read_models(tmp_path / "models")
    target = TARGET.model_copy(update={"model_config_sha256": model.config_sha256})
    (tmp_path / "sweep.json").write_text(report().model_copy(update={"target": target}).model_dump_json())
    traffic = ("--base", "500", "--peak", "2000", "--slo", "p99<50ms", "--cold-start", "75")
    planned = serve("plan", "l4=sweep.json", *traffic, "-o", "plan.json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    with_helm = os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    charted = serve("chart", "models", "--plan", "plan.json", "-o", "demo", cwd=tmp_path, env=with_helm)
    assert charted.returncode == 0, charted.stderr
    assert "autoscaling.coldStartSeconds: 75  # cold_start_seconds" in charted.stdout
    command = [str(TOOLS / "helm"), "template", "demo", str(tmp_path / "demo")]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = [each for each in yaml.safe_load_all(rendered) if each]
    (scaler,) = (each["spec"] for each in documents if each["kind"] == "HorizontalPodAutoscaler")
    scaling = json.loads((tmp_path / "plan.json").read_text())["profiles"][0]["scaling"]["targets"]
    assert (
        (scaler["minReplicas"], scaler["maxReplicas"]) == (scaling["min_replicas"], scaling["max_replicas"]) == (3, 15)
    )
    averages = [metric["pods"]["target"]["averageValue"] for metric in scaler["metrics"]]
    assert [float(average.removesuffix("m")) / 1000 for average in averages] == pytest.approx(
        [scaling["concurrency"], scaling["pending"]], abs=0.001
    )


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("l4.json",), 2, "a plan needs the traffic: --base and --peak in requests/s, or a --trace of it"),
        (("l4.json", "--base", "9", "--peak", "8"), 2, "no higher than the peak of 8"),
        (("none.json", "--base", "1", "--peak", "8"), 2, "cannot read the report none.json"),
        (("l4.json", "--trace", "prices.toml"), 2, "--trace prices.toml, line 2: no column is called timestamp"),
        (("l4.json", "--base", "1", "--peak", "8", "--prices", "l4.json"), 2, "--prices l4.json is not TOML"),
        (("l4.json", "--base", "1", "--peak", "8", "--slo", "throughput>3"), 2, "scaling needs an upper limit"),
        (("l4.json", "--base", "1", "--peak", "8", "--slo", "p99<1us"), 7, "no measured load keeps p99"),
        (("l4.json", "--base", "1", "--peak", "8", "-o", "plan.doc"), 2, "the format follows from the extension"),
        (("l4.json", "--base", "1", "--peak", "8", "--repository", "none"), 2, "none is not a folder"),
    ],
)
def test_wrong_options(serve: Serve, folder: Path, options: tuple[str, ...], code: int, message: str) -> None:
    """Each is one line."""
    done = serve("plan", *options, cwd=folder)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_report_of_several_models_is_called_what_it_is(serve: Serve, folder: Path) -> None:
    """A plan adds up sweeps of one model each; that one with all of them is no such sweep, and the message says so."""
    each = LoadTestReport.model_validate_json((folder / "l4.json").read_text())
    together = tuple(NamedReport(name=name, report=each) for name in ("digits", "sums", "all models"))
    (folder / "mix.json").write_text(ReportSet(reports=together).model_dump_json())
    done = serve("plan", "mix.json", "--base", "1", "--peak", "8", cwd=folder)
    assert done.returncode == 2
    assert "mix.json holds reports of digits, sums and all models, and one of a single model is wanted" in done.stderr


def test_a_file_that_is_no_plan_is_no_chart(serve: Serve, folder: Path) -> None:
    """A sweep is not a plan, and the message says how to make one."""
    add_model(folder / "models")
    done = serve("chart", "models", "--plan", "l4.json", "--dry-run", cwd=folder)
    assert done.returncode == 2
    assert "l4.json is not a plan" in done.stderr
    assert "serve plan" in done.stderr
