"""The rules on configurations, held against a real Triton."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_configs import BROKEN, GOOD, MISMATCHED
from onnx_models import add_to_repository, doubling_model

LOCAL = [case for case in (*BROKEN, *MISMATCHED) if case.here]


@pytest.fixture(scope="module")
def states(triton_server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    repository: Path = tmp_path_factory.mktemp("models")
    add_to_repository(repository, "good", doubling_model(), GOOD + " instance_group { count: 1 }")
    for case in LOCAL:
        add_to_repository(repository, case.name, doubling_model(), case.config)
    server = triton_server(repository, auto_complete=False)
    return {state.name: state.state for state in server.model_states()}


def test_triton_refuses_all_that_the_rules_refuse(states: dict[str, str]) -> None:
    """Each mistake of the table keeps its model from loading, and nothing else does."""
    assert states.pop("good") == "READY"
    assert {name for name, state in states.items() if state == "READY"} == set()
    assert set(states) == {case.name for case in LOCAL}
