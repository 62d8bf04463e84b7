"""What `serve package` says of a batching proof."""

from __future__ import annotations

from typing import Any

import pytest

from serve_cli.batching_report import describe_batching
from serve_deploy.manifest import BatchingProof, GraphCause, GraphFinding

CAUSE = GraphCause(node="/x", operator="my.Op", effect="unknown", reason="is no operator of ONNX")


def lines(**fields: Any) -> list[str]:
    known = {"verdict": "batchable", "max_batch_size": 8, "evidence": "seen", "batch_sizes": tuple(range(1, 9))}
    return list(describe_batching(BatchingProof.model_validate({**known, **fields})))


def test_says_which_sizes_were_proven() -> None:
    """One line where there is nothing else to say."""
    assert lines() == ["batching: proven at 1 to 8 (max_batch_size 8)"]


@pytest.mark.parametrize(
    ("sizes", "missing", "said"),
    [
        ((1, 2, 3, 8), ((4, 7),), ["batching: proven at 1 to 3, 8 (max_batch_size 64)", "not run: batch 4 to 7"]),
        ((1, 3), ((2, 2), (4, 5)), ["batching: proven at 1, 3 (max_batch_size 64)", "not run: batch 2, 4, 5"]),
        (
            tuple(range(1, 17)),
            ((17, 64),),
            ["batching: proven at 1 to 16 (max_batch_size 64)", "not run: batch 17 to 64"],
        ),
    ],
)
def test_what_was_not_run_is_not_called_proven(
    sizes: tuple[int, ...], missing: tuple[tuple[int, int], ...], said: list[str]
) -> None:
    """The sizes between, and those up to the limit."""
    assert lines(batch_sizes=sizes, batch_sizes_not_run=missing, max_batch_size=64) == said


def test_says_what_only_runs_have_shown() -> None:
    """With the node at which the graph was lost."""
    (line,) = lines(graph=GraphFinding(verdict="unknown", causes=(CAUSE,)))
    assert line == "batching: seen in runs at 1 to 8 (max_batch_size 8); the graph is not understood: my.Op at /x"


def test_says_what_never_varied() -> None:
    """Nothing is known of what would mix it."""
    assert lines(constant_inputs=("sr",), constant_outputs=("zero",))[1:] == [
        "input 'sr' had the same values in every row",
        "output 'zero' had the same values in every row",
    ]


def test_says_why_not_and_what_to_do() -> None:
    """The evidence, and the next step by its flags."""
    refused = lines(verdict="not_batchable", max_batch_size=0, next_step="`max_batch_size` sets it all the same")
    assert refused[0] == "batching: no (max_batch_size 0): seen"
    assert refused[1].startswith("to batch it: ")
    assert lines(verdict="undecided", max_batch_size=0)[0] == "batching: not proven (max_batch_size 0): seen"
