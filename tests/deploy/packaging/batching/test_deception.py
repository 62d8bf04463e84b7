"""Models made to deceive the proof are not called batchable, and honest models of the same operators are."""

from __future__ import annotations

from pathlib import Path

import pytest
from batching_models import Trap, parse_graph, save
from deceiving_models import DECEIVERS, HONEST, UNSEEN

from serve_deploy.batch_axis import trace_batch_axis
from serve_deploy.manifest import BatchingProof
from serve_deploy.onnx.session import open_model
from serve_deploy.packaging.batching.proof import prove_batching
from serve_deploy.packaging.batching.verdict import join_witnesses
from serve_deploy.samples.generation import generate_samples
from serve_deploy.samples.graph_hints import read_hints
from serve_deploy.samples.landmarks import read_landmarks


def prove(trap: Trap, folder: Path) -> BatchingProof:
    """The runs alone, with all the time that they can use."""
    opened = open_model(save(parse_graph(trap.graph), folder))
    proto = opened.parse()
    hints = read_hints(proto)
    samples = generate_samples(opened, hints=hints).samples
    return prove_batching(
        opened.run, opened.signature, samples, landmarks=read_landmarks(proto, hints), clock=lambda: 0.0
    )


def join(proof: BatchingProof, trap: Trap) -> BatchingProof:
    return join_witnesses(proof, trace_batch_axis(parse_graph(trap.graph)), can_be_set=True)


@pytest.mark.parametrize("trap", [*DECEIVERS, *UNSEEN], ids=lambda trap: trap.name)
def test_is_not_deceived(trap: Trap, tmp_path: Path) -> None:
    """Runs and graph together never call it batchable."""
    joined = join(prove(trap, tmp_path), trap)

    assert (joined.verdict != "batchable", joined.max_batch_size) == (True, 0), joined.evidence


@pytest.mark.parametrize("trap", DECEIVERS, ids=lambda trap: trap.name)
def test_runs_alone_are_not_deceived(trap: Trap, tmp_path: Path) -> None:
    """Nor do the runs without the graph's verdict, as with an operator that the graph's rules do not know."""
    assert prove(trap, tmp_path).verdict != "batchable"


@pytest.mark.parametrize("trap", HONEST, ids=lambda trap: trap.name)
def test_proves_an_honest_model_of_the_same_operators(trap: Trap, tmp_path: Path) -> None:
    """Whoever looks closely still lets through what keeps its rows apart."""
    joined = join(prove(trap, tmp_path), trap)

    assert (joined.verdict, joined.graph and joined.graph.verdict) == ("batchable", "independent"), joined.evidence
