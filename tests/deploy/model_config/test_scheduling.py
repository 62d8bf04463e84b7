"""What a load-test report keeps of a configuration: as much as the twin needs."""

from __future__ import annotations

import pytest

from serve_deploy.calibration.scheduler import not_simulated, read_served_model
from serve_deploy.model_config import parse_config
from serve_deploy.model_config.ensemble_graph import order_steps
from serve_deploy.model_config.scheduling import keep_scheduling, read_scheduling
from serve_deploy.twin import ServiceTimes

SERVICE = ServiceTimes.by_batch({1: 0.01})
BATCHED = """
name: "m" max_batch_size: 8 backend: "onnxruntime" parameters { key: "secret" value { string_value: "x" } }
input { name: "image" data_type: TYPE_FP32 dims: [-1, 8] }
dynamic_batching {
  max_queue_delay_microseconds: 300 preferred_batch_size: [4, 8] priority_levels: 2 default_priority_level: 1
  priority_queue_policy { key: 2 value { timeout_action: DELAY default_timeout_microseconds: 9 max_queue_size: 3 } }
}
"""


def as_triton_says(text: str) -> dict[str, object]:
    """The configuration as a running Triton tells it over gRPC: 64-bit numbers are texts."""
    from google.protobuf.json_format import MessageToDict

    document: dict[str, object] = MessageToDict(parse_config(text), preserving_proto_field_name=True)
    return document


@pytest.mark.parametrize("text", [BATCHED, 'name: "m"', 'name: "m" max_batch_size: 8 dynamic_batching { }'])
def test_the_twin_of_what_was_kept_is_that_of_the_configuration(text: str) -> None:
    """Sizes, delay, priorities, timeouts and free dims are all there."""
    kept = read_scheduling(keep_scheduling(as_triton_says(text)))
    assert read_served_model(kept, SERVICE, 2) == read_served_model(parse_config(text), SERVICE, 2)


def test_nothing_else_of_the_configuration_is_kept() -> None:
    """Parameters may hold secrets, and names of tensors are nobody's business here."""
    kept = str(keep_scheduling(as_triton_says(BATCHED)))
    assert "secret" not in kept
    assert "image" not in kept


def test_an_ensemble_keeps_what_its_steps_take() -> None:
    """The names of its inputs are those in its steps, by which these follow each other."""
    text = (
        'name: "e" platform: "ensemble" input { name: "in" } ensemble_scheduling {'
        ' step { model_name: "a" input_map { key: "x" value: "in" } output_map { key: "y" value: "out" } } }'
    )
    kept = read_scheduling(keep_scheduling(as_triton_says(text)))
    assert [index for index, _ in order_steps(kept)[0]] == [0]


def test_the_largest_batch_as_the_only_preferred_one_is_tritons_own_doing() -> None:
    """A running Triton fills it in; it changes nothing."""
    text = 'name: "m" max_batch_size: 8 dynamic_batching { preferred_batch_size: [8] }'
    assert keep_scheduling(as_triton_says(text))["dynamic_batching"] == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('name: "m" sequence_batching { }', "sequence batching"),
        ('name: "m" model_transaction_policy { decoupled: true }', "decoupled"),
        ('name: "m" ensemble_scheduling { step { model_name: "a" } }', "an ensemble"),
    ],
)
def test_what_is_not_simulated_is_seen(text: str, reason: str) -> None:
    """What the twin cannot do is kept as well, so that it says so."""
    assert reason in str(not_simulated(read_scheduling(keep_scheduling(as_triton_says(text)))))


@pytest.mark.parametrize("document", [None, {}, {"max_batch_size": "many"}])
def test_what_was_not_kept_is_not_known(document: dict[str, object] | None) -> None:
    """Older reports have none, and a changed one may hold anything."""
    assert read_scheduling(document) is None
