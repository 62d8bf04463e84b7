"""Each operator's rule against ONNX Runtime, on models whose rows stay apart and on models whose rows mix."""

from __future__ import annotations

import numpy as np
import pytest
from operator_models import MODELS, OperatorModel
from row_checks import draw_rows, find_mixing, load

from serve_deploy.batch_axis import trace_batch_axis
from serve_deploy.batch_axis.rules import RULES

_DRAWS = 4
_VERDICTS = {"apart": "independent", "mixed": "mixes", "unknown": "unknown"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_rule_says_what_onnx_runtime_does(model: OperatorModel) -> None:
    """Rows that stay apart in ONNX Runtime are independent; where they mix, the rule says so."""
    proto = model.build()
    session, numbers = load(proto), np.random.default_rng(0)
    found = [find_mixing(session, draw_rows(session, numbers, below=model.below)) for _ in range(_DRAWS)]
    witness = trace_batch_axis(proto)

    if model.effect != "unknown":
        assert any(found) == (model.effect == "mixed"), next(filter(None, found), "the rows stayed apart")
    assert witness.verdict == _VERDICTS[model.effect], witness.causes


def test_every_rule_has_a_model_on_which_it_shows() -> None:
    """No operator has a rule that ONNX Runtime was not asked about."""
    assert set(RULES) == {model.operator for model in MODELS}
