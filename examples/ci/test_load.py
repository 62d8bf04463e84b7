"""Load tests as tests: pytest starts a real Triton, and the model has to hold its objectives on it."""

import subprocess
import sys

import pytest

from serve_deploy.loadtest import ConstantRate, LoadTestOptions, parse_endpoint, require_slo, run_loadtest
from serve_deploy.triton import ServerOptions, start_server


@pytest.fixture(scope="session")
def triton(tmp_path_factory):
    """A real Triton that serves the packaged model; it ends with the tests."""
    models = tmp_path_factory.mktemp("models")
    package = ["serve_cli", "package", "examples/digits/digits.onnx", "--output", str(models), "--no-verify"]
    subprocess.run([sys.executable, "-m", *package], check=True)
    with start_server(ServerOptions(repository=models, runtime="embedded")) as server:
        yield server


def test_digits_holds_its_objectives(triton):
    """50 requests a second, sent on schedule, are answered without an error and in reasonable time."""
    options = LoadTestOptions(
        endpoint=parse_endpoint(triton.http_url), model="digits", loads=(ConstantRate(50),), duration_seconds=3
    )
    report = run_loadtest(options)
    require_slo(report, "p99<5s", "errors<0.1%")
    assert report.points[0].succeeded == 150
