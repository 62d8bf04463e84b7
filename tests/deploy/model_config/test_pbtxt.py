"""config.pbtxt as people and Triton read it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_deploy.errors import InvalidModelError
from serve_deploy.manifest import BatchingProof
from serve_deploy.model_config import (
    ConfigOptions,
    QueuePolicy,
    VersionPolicy,
    build_model_config,
    explain_config,
    format_config,
    parse_config,
)
from serve_deploy.model_config.accelerators import parse_optimization
from serve_deploy.model_config.optimization import with_shape_profile
from serve_deploy.model_config.options import Devices, WarmupInput
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("tokens", DataType.INT64, (-1, -1)), TensorSpec("length", DataType.INT32, (-1,))),
    outputs=(TensorSpec("scores", DataType.FP32, (-1, 10)),),
)
PROOF = BatchingProof(
    verdict="batchable", max_batch_size=8, evidence="every row equals its single run", batch_sizes=(1, 2, 3, 8)
)
NO_PROOF = BatchingProof(verdict="not_batchable", max_batch_size=0, evidence="the first dimension is time")
SHAPES = [{"tokens": (1, length), "length": (1,)} for length in (16, 64, 128)]
EVERYTHING = ConfigOptions(
    name="everything",
    max_queue_delay_us=100,
    preferred_batch_sizes=(4, 8),
    instances=2,
    devices=Devices("gpu", (0, 1)),
    threads=4,
    parallel_threads=2,
    label_files={"scores": "labels.txt"},
    warmup=(WarmupInput("tokens", "TYPE_INT64", (16,), "input_0", b""),),
    warmup_batch_sizes=(1, 8),
    optimization=with_shape_profile(parse_optimization("tensorrt:fp16"), SIGNATURE, 8, SHAPES),
    queue_policy=QueuePolicy(default_timeout_us=1000, allow_timeout_override=True, max_queue_size=100),
    priority_levels=2,
    response_cache=True,
    version_policy=VersionPolicy(latest=2),
)


def written(options: ConfigOptions, proof: BatchingProof, signature: ModelSignature = SIGNATURE) -> str:
    config = build_model_config(signature, proof.max_batch_size, options)
    text = format_config(config, explain_config(config, signature, proof, options))
    assert parse_config(text) == config
    return text


@pytest.mark.parametrize(
    ("name", "options", "proof"),
    [
        ("batching", ConfigOptions(name="batching"), PROOF),
        ("no_batching", ConfigOptions(name="no_batching"), NO_PROOF),
        ("everything", EVERYTHING, PROOF),
    ],
)
def test_the_text_is_as_approved(golden, name: str, options: ConfigOptions, proof: BatchingProof) -> None:
    """Golden files: each line with its reason."""
    golden(f"model_config/{name}.pbtxt", written(options, proof))


@pytest.mark.parametrize("options", [ConfigOptions(name="m"), EVERYTHING], ids=["default", "everything"])
def test_every_decision_has_its_reason(options: ConfigOptions) -> None:
    """A line that says something on its own carries a comment, or the line that opens its block does."""
    enclosing: list[bool] = []
    for line in written(options, PROOF).splitlines():
        bare, explained = line.strip(), "  # " in line
        if bare == "}":
            enclosing.pop()
        elif bare.split("#")[0].strip().endswith("{"):
            enclosing.append(explained)
        else:
            assert explained or any(enclosing) or bare.startswith(("value:", "string_value:")) or len(enclosing) > 1, (
                line
            )


def test_zeros_that_say_something_are_written_out() -> None:
    """Protobuf would drop them, and the reader would not know that they were meant."""
    assert "max_batch_size: 0 " in written(ConfigOptions(name="m"), NO_PROOF)
    text = written(ConfigOptions(name="m", queue_policy=QueuePolicy(max_queue_size=5)), PROOF)
    assert "max_queue_delay_microseconds: 0 " in text
    assert "default_timeout_microseconds: 0 " in text
    assert "shape: []" in text


def test_the_reason_for_not_batching_is_in_the_text() -> None:
    """The reader learns why max_batch_size is 0."""
    assert "the first dimension is time" in written(ConfigOptions(name="m"), NO_PROOF)


@settings(deadline=None)
@given(name=st.text(min_size=1, max_size=40), reason=st.text(max_size=40))
def test_any_tensor_name_and_any_reason_come_back_the_same(name: str, reason: str) -> None:
    """Quotes, newlines, JSON, hashes, unicode: names are data, and reasons never leave their comment."""
    signature = ModelSignature(
        inputs=(TensorSpec(name, DataType.FP32, (-1, 2)),), outputs=(TensorSpec(name, DataType.FP32, (-1, 2)),)
    )
    proof = PROOF.model_copy(update={"verdict": "undecided", "evidence": reason})
    options = ConfigOptions(name="m", warmup=(WarmupInput(name, "TYPE_FP32", (2,), "input_0", b""),))
    config = build_model_config(signature, 8, options)
    assert parse_config(format_config(config, explain_config(config, signature, proof, options))) == config


@pytest.mark.parametrize("text", ["max_batch_size: many", "input {", "no_such_field: 1", "name: 'a' name: 'b'"])
def test_what_is_no_configuration_is_said_with_its_line(text: str) -> None:
    """Line and column come from the parser."""
    with pytest.raises(InvalidModelError, match=r"models/m/config.pbtxt: 1:\d+"):
        parse_config(text, "models/m/config.pbtxt")
