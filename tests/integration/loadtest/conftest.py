"""One real Triton with Python models whose behaviour is known, for all load-test suites."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.loadtest import LoadTestOptions, run_loadtest
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.triton import TritonServer

REPOSITORY = Path(__file__).parent / "repository"
Measure = Callable[..., LoadTestReport]


@pytest.fixture(scope="session")
def loadtest_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, copied to where a server may look at them."""
    repository = tmp_path_factory.mktemp("loadtest") / "repository"
    shutil.copytree(REPOSITORY, repository)
    return repository


@pytest.fixture(scope="session")
def triton(triton_server: Callable[..., TritonServer], loadtest_repository: Path) -> TritonServer:
    """The server, with all models loaded."""
    return triton_server(loadtest_repository, explicit=True, models=("*",))


@pytest.fixture
def measure(triton: TritonServer) -> Measure:
    """Run a short load test of a model over `protocol`, without warm-up unless asked for."""

    def run(model: str, protocol: str = "http", **options: Any) -> LoadTestReport:
        url = triton.grpc_url if protocol == "grpc" else triton.http_url
        endpoint = parse_endpoint(url, **options.pop("endpoint_options", {}))
        chosen = {"warmup_seconds": 0.0, "duration_seconds": None, "timeout_seconds": 20.0, **options}
        return run_loadtest(LoadTestOptions(endpoint=endpoint, model=model, **chosen))

    return run


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as a .npz of samples, one after the other."""

    def write(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        np.savez(path, **{name: np.asarray(array) for name, array in arrays.items()})
        return path

    return write
