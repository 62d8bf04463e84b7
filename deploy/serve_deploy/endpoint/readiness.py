"""Wait until an endpoint serves a model, or say why it does not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.errors import EndpointError
from serve_deploy.option import Option
from serve_deploy.progress import Progress, silent

if TYPE_CHECKING:
    from serve_deploy.endpoint.control import ControlPlane

WaitSeconds = Annotated[
    float,
    Option("Wait up to this long for the server to answer and the model to be ready.", minimum=0, group="Connection"),
]
Speech = Literal["triton", "openai", "either"]
_POLL_SECONDS = 0.2
# An answer that takes longer is asked for again.
_ANSWER_SECONDS = 5.0


def wait_until_ready(
    endpoint: Endpoint,
    model: str,
    version: str = "",
    *,
    timeout_seconds: float,
    speaks: Speech = "triton",
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once the model is ready; EndpointError with the last reason where it is not in time.

    `speaks` is the protocol that the server has for it, or either; `progress` hears what is waited for.
    """
    deadline = clock() + timeout_seconds
    while True:
        reason = _why_not(endpoint, model, version, speaks, min(max(deadline - clock(), 0.1), _ANSWER_SECONDS))
        if reason is None:
            return
        if clock() >= deadline:
            raise EndpointError(
                f"{model} was not ready within {timeout_seconds:g} s: {reason.message}", hint=reason.hint
            )
        progress(f"waiting for {model}: {reason.message}")
        sleep(min(_POLL_SECONDS, max(deadline - clock(), 0.0)))


def _why_not(
    endpoint: Endpoint, model: str, version: str, speaks: Speech, answer_seconds: float
) -> EndpointError | None:
    from serve_deploy.endpoint.connection import RefusedError
    from serve_deploy.endpoint.control import ControlPlane
    from serve_deploy.endpoint.openai import describe_served_model

    try:
        if speaks == "openai":
            describe_served_model(endpoint, model, timeout_seconds=answer_seconds)
            return None
        with ControlPlane(endpoint, timeout_seconds=answer_seconds) as control:
            try:
                control.server_metadata()
            except RefusedError:
                if speaks == "triton":
                    raise
                return _why_not(endpoint, model, version, "openai", answer_seconds)
            return None if control.is_ready(model, version) else _describe_state(control, endpoint, model, version)
    except EndpointError as error:
        return error


def _describe_state(control: ControlPlane, endpoint: Endpoint, model: str, version: str) -> EndpointError:
    states = control.model_states()
    found = [state for state in states if state.name == model and version in ("", state.version)]
    if not found:
        served = ", ".join(sorted({state.name for state in states})) or "no model"
        name = f"model '{model}'" + (f" in version {version}" if version else "")
        return EndpointError(f"{endpoint.url} answers, but serves no {name}", hint=f"it serves {served}")
    said = {"LOADING": "is loading", "UNLOADING": "is being unloaded", "READY": "is about to be ready"}
    state = found[-1]
    failed = f"is not ready: {state.reason or state.state}"
    return EndpointError(
        f"{endpoint.url} answers, but the model {said.get(state.state, failed)}", hint="the server's log says more"
    )
