"""The graph's witness on the traps of the batching proof."""

from __future__ import annotations

import pytest
from batching_models import BATCHABLE, NOT_BATCHABLE, Trap, parse_graph, recurrent_model

from serve_deploy.batch_axis import trace_batch_axis

# Axis 0 is taken to be free whatever is declared, and the number of places that NonZero lists may be undone again.
_NOT_SEEN = {"fixed_batch", "label_declared_wrongly", "all_that_is_positive"}
MIXING = [trap for trap in NOT_BATCHABLE if trap.name not in _NOT_SEEN]


@pytest.mark.parametrize("trap", BATCHABLE, ids=lambda trap: trap.name)
def test_rows_that_stay_apart_are_independent(trap: Trap) -> None:
    """Every model whose rows do not influence each other is understood."""
    assert trace_batch_axis(parse_graph(trap.graph)).verdict == "independent"


@pytest.mark.parametrize("trap", MIXING, ids=lambda trap: trap.name)
def test_rows_that_mix_are_seen_to_mix(trap: Trap) -> None:
    """Every model that mixes rows is caught, with a cause that names an output."""
    witness = trace_batch_axis(parse_graph(trap.graph))
    assert witness.verdict == "mixes"
    assert all(cause.outputs for cause in witness.causes)


def test_a_recurrent_network_may_hold_its_batch_on_axis_1() -> None:
    """An RNN runs along axis 0: time, where the model has transposed the batch away from it."""
    assert trace_batch_axis(recurrent_model(time_first=False)).verdict == "independent"
    (cause,) = trace_batch_axis(recurrent_model(time_first=True)).causes
    assert "runs along the batch axis" in cause.reason
