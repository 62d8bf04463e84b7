"""What a language model in Triton takes, checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import UsageError
from serve_deploy.loadtest import LoadTestOptions
from serve_deploy.loadtest.options import GenerationOptions
from serve_deploy.loadtest.requests.generating import describe_model

TEXT = {"name": "text_input", "datatype": "BYTES", "shape": [1]}
LENGTH = {"name": "max_tokens", "datatype": "INT32", "shape": [1]}
SAMPLING = {"name": "sampling_parameters", "datatype": "BYTES", "shape": [1]}


class Described(ControlPlane):
    """A Triton that says this of its model."""

    def __init__(self, *inputs: dict[str, Any]) -> None:
        self._inputs = inputs

    def server_metadata(self) -> dict[str, Any]:
        """Of no server."""
        return {"version": "2.51.0"}

    def model_metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """With the output that is asked for by default."""
        outputs = [{"name": "text_output", "datatype": "BYTES", "shape": [-1]}]
        return {"name": model, "versions": ["1"], "inputs": list(self._inputs), "outputs": outputs}

    def model_config(self, model: str, version: str = "") -> dict[str, Any]:
        """Nothing in particular."""
        return {"name": model}


def describe(control: ControlPlane, *parameters: tuple[str, Any]) -> Any:
    generation = GenerationOptions(generate="triton", parameters=parameters)
    options = LoadTestOptions(endpoint=parse_endpoint("http://host"), model="llm", generation=generation)
    return describe_model(options, control, 1.0)


def test_the_server_says_what_it_is() -> None:
    """For the report."""
    asked = describe(Described(TEXT))
    assert (asked.protocol, asked.model.version, asked.server_version) == ("triton", "1", "2.51.0")


@pytest.mark.parametrize(
    ("parameter", "message"),
    [(("stop", ["."]), "takes no list or object"), (("max_tokens", "many"), "`parameters=max_tokens=many`: .* INT32")],
)
def test_parameters_that_cannot_be_sent_are_refused(parameter: tuple[str, Any], message: str) -> None:
    """By name."""
    with pytest.raises(UsageError, match=message):
        describe(Described(TEXT, LENGTH), parameter)


def test_sampling_parameters_hold_anything() -> None:
    """They are JSON."""
    assert describe(Described(TEXT, SAMPLING), ("stop", ["."]), ("max_tokens", None))
