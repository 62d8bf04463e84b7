"""The digest of a configuration: what it tells apart, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from serve_deploy.model_config.digest import config_sha256, instance_count

CONFIG: dict[str, Any] = {
    "name": "m", "backend": "onnxruntime", "max_batch_size": 8,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3", "-1"]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["10"]}],
}  # fmt: skip


@pytest.mark.parametrize(
    "written_otherwise",
    [
        {"backend": "", "platform": "onnxruntime_onnx"},
        {
            "input": [
                {"name": "x", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [3, -1], "optional": False}
            ]
        },
        {"optimization": {"input_pinned_memory": {"enable": True}, "eager_batching": False}},
        {"instance_group": [{"count": 4, "name": "m_0", "kind": "KIND_CPU"}]},
        {"model_warmup": [], "default_model_filename": "model.onnx", "version_policy": {"latest": {"num_versions": 1}}},
    ],
)
def test_what_triton_fills_in_makes_no_difference(written_otherwise: dict[str, Any]) -> None:
    """Defaults written out, the older name of a backend, numbers as strings: the same configuration."""
    assert config_sha256(CONFIG | written_otherwise) == config_sha256(CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"max_batch_size": 16},
        {"dynamic_batching": {}},
        {"dynamic_batching": {"max_queue_delay_microseconds": "500"}},
        {"parameters": {"intra_op_thread_count": {"string_value": "1"}}},
        {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt"}]}}},
        {"input": [{"name": "x", "data_type": "TYPE_FP16", "dims": ["3", "-1"]}]},
    ],
)
def test_what_changes_the_capacity_is_told_apart(change: dict[str, Any]) -> None:
    """Batching, types, threads and accelerators are another configuration."""
    assert config_sha256(CONFIG | change) != config_sha256(CONFIG)


def test_largest_batch_as_the_only_preferred_one() -> None:
    """Triton writes the largest batch where none is preferred; two preferred ones are a choice."""
    plain = config_sha256(CONFIG | {"dynamic_batching": {}})
    assert config_sha256(CONFIG | {"dynamic_batching": {"preferred_batch_size": [8]}}) == plain
    assert config_sha256(CONFIG | {"dynamic_batching": {"preferred_batch_size": [4, 8]}}) != plain


def test_default_idle_time_of_sequences() -> None:
    """A second is what Triton takes where nothing is said."""
    spoken = {
        "sequence_batching": {"max_sequence_idle_microseconds": "1000000", "direct": {"minimum_slot_utilization": 1}}
    }
    silent = {"sequence_batching": {"direct": {"minimum_slot_utilization": 1}}}
    assert config_sha256(CONFIG | spoken) == config_sha256(CONFIG | silent)


def test_instances() -> None:
    """They count over all groups; without a group Triton chooses."""
    assert instance_count({"instance_group": [{"count": 2}, {}]}) == 3
    assert instance_count({}) is None
