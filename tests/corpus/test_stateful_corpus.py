"""Real recurrent models: their states found, and sequences of 50 steps as with the state in hand. Opt-in: SERVE_CORPUS.

Where a tritonserver with the native ONNX Runtime backend is on PATH, it serves them as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from registry_models import fetch_model
from stateful_models import EXPORTED, RECURRENT, Recurrent

from serve_deploy.packaging.options import PackageOptions, StatefulOptions
from serve_deploy.packaging.package import PackagedModel, package_model
from serve_deploy.triton.runtimes import InstalledRuntime

pytestmark = pytest.mark.skipif("SERVE_CORPUS" not in os.environ, reason="set SERVE_CORPUS to a folder to fetch into")


@pytest.fixture(scope="module")
def cache() -> Path:
    """The folder that downloads are kept in."""
    folder = Path(os.environ["SERVE_CORPUS"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def require_proven(packaged: PackagedModel, states: object, *, batches: bool) -> None:
    """The states are these, sequences were compared, and a Triton that can keep state answered alike."""
    proof = packaged.manifest.state
    assert proof
    assert {state.model_input: state.model_output for state in proof.states} == states
    assert not any(state.is_idle for state in proof.states)
    assert proof.steps == 50
    assert (packaged.manifest.batching.max_batch_size > 0) == batches, packaged.manifest.batching.evidence
    assert (packaged.manifest.verification is not None) == (InstalledRuntime().why_unavailable() is None)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("recurrent", RECURRENT, ids=lambda recurrent: recurrent.model.name)
def test_sequences_of_a_model_from_a_registry(recurrent: Recurrent, cache: Path, tmp_path: Path) -> None:
    """Each with the state that its own package carries from call to call."""
    options = PackageOptions(
        repository=tmp_path / "models",
        fix=recurrent.fix,
        sequences=StatefulOptions(stateful=True, constant=recurrent.constant),
    )
    packaged = package_model(fetch_model(recurrent.model, cache), options)
    require_proven(packaged, recurrent.states, batches=recurrent.batches)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EXPORTED)
def test_sequences_of_an_exported_model(name: str, tmp_path: Path) -> None:
    """Runs in pieces and in one go prove each mapping."""
    make, states, batches = EXPORTED[name]
    make(tmp_path / "model.onnx")
    options = PackageOptions(repository=tmp_path / "models", fix=True, sequences=StatefulOptions(stateful=True))
    packaged = package_model(tmp_path / "model.onnx", options)
    require_proven(packaged, states, batches=batches)
    assert packaged.manifest.state
    assert {state.evidence for state in packaged.manifest.state.states} == {"runs"}
