"""Whatever operators a graph is made of: what the witness calls independent is independent in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
from hypothesis import HealthCheck, assume, event, given, settings
from random_graphs import graphs
from row_checks import draw_rows, find_mixing, load

from serve_deploy.batch_axis import trace_batch_axis


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs())
def test_what_is_called_independent_is_independent(model: onnx.ModelProto) -> None:
    """No random graph that the witness calls independent mixes rows in ONNX Runtime."""
    witness = trace_batch_axis(model)
    event(witness.verdict)
    assume(witness.verdict == "independent")
    session = load(model)
    mixing = find_mixing(session, draw_rows(session, np.random.default_rng(0)))
    assume("does not run on one row" not in (mixing or ""))

    assert mixing is None
