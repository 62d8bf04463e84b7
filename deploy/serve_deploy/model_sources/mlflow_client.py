"""MLflow's own client: imported where it is needed, and what it raises as errors of ours."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from serve_deploy.errors import EndpointError, ServeError, UsageError
from serve_deploy.extras import install_command

_ELSEWHERE = "or download the model elsewhere, and give its path"
_SET_URI = "set MLFLOW_TRACKING_URI to the server that holds it, or MLFLOW_REGISTRY_URI where that is another"
# Its own defaults wait minutes for a server that is not there, draw bars, and report its use to its makers.
_QUIET = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def require_mlflow(name: str) -> None:
    """Import the client, quiet; UsageError where it is not installed."""
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.artifacts  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{name} is a model of MLflow, whose client is not installed: {error}",
            hint=f"install it with `{install_command('mlflow')}`",
        ) from error
    logging.getLogger("mlflow").setLevel(logging.ERROR)


def name_registry() -> str:
    """The registry that is asked, without what its address may hold of a password."""
    import mlflow

    address = str(mlflow.get_registry_uri())
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else address


@contextmanager
def asking_registry(name: str) -> Iterator[None]:
    """Say in a line what keeps MLflow from answering for a model: EndpointError, with what to do about it."""
    from mlflow.exceptions import MlflowException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ServeError:
        raise
    except MlflowException as error:
        message, hint = _explain(error, _first_line(error))
        raise EndpointError(f"{name}: {message}", hint=hint) from error
    except ImportError as error:
        raise UsageError(
            f"{name}: MLflow needs a library for this store that is not installed: {error}",
            hint="install what your MLflow server's files need, such as boto3 for s3",
        ) from error
    except Exception as error:
        raise EndpointError(f"{name}: MLflow failed: {_first_line(error)}", hint=f"try again, {_ELSEWHERE}") from error


def _explain(error: Exception, line: str) -> tuple[str, str]:
    code, registry = str(getattr(error, "error_code", "")), name_registry()
    if "unsupported URI" in line:
        return (
            f"this MLflow client cannot read a registry in {registry}",
            f"{_SET_URI}; for a database, install mlflow",
        )
    if code == "UNAUTHENTICATED":
        hint = "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        return f"the MLflow registry {registry} asks who you are", hint
    if code == "PERMISSION_DENIED":
        return f"the MLflow registry {registry} does not let you read it", "ask whoever runs it for permission"
    if code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        return f"the MLflow registry {registry} has no such model: {line}", "check the name, or " + _SET_URI
    if "Max retries exceeded" in line or "failed with exception" in line:
        return f"the MLflow registry {registry} cannot be reached", f"{_SET_URI}; {_ELSEWHERE}"
    return f"the MLflow registry {registry} did not answer: {line}", f"try again, {_ELSEWHERE}"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    # An address in a message may hold a password.
    return re.sub(r"//[^/@\s]+@", "//", lines[0].strip())[:300]
