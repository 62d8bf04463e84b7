"""From a signature to Triton's ModelConfig."""

from __future__ import annotations

import pytest

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.model_config import (
    ConfigOptions,
    QueuePolicy,
    VersionPolicy,
    build_model_config,
    check_against_model,
    check_config,
    parse_version_policy,
)
from serve_deploy.model_config.options import Devices
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec


def signature(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] | None = None) -> ModelSignature:
    return ModelSignature(inputs, outputs if outputs is not None else (TensorSpec("y", DataType.FP32, (-1, 10)),))


IMAGE = TensorSpec("image", DataType.FP32, (-1, 3, -1, -1))
LENGTH = TensorSpec("length", DataType.INT64, (-1,))


def test_with_batching_dims_leave_the_batch_out() -> None:
    """Triton puts max_batch_size before the dims itself."""
    config = build_model_config(signature(IMAGE), 8, ConfigOptions(name="m"))
    assert (config.name, config.backend, config.max_batch_size) == ("m", "onnxruntime", 8)
    assert list(config.input[0].dims) == [3, -1, -1]
    assert list(config.output[0].dims) == [10]
    assert config.HasField("dynamic_batching")


def test_without_batching_dims_are_complete_and_nothing_is_batched() -> None:
    """max_batch_size 0 means that dims are the model's own."""
    config = build_model_config(signature(IMAGE), 0, ConfigOptions(name="m"))
    assert list(config.input[0].dims) == [-1, 3, -1, -1]
    assert not config.HasField("dynamic_batching")


def test_one_number_a_row_is_reshaped() -> None:
    """A model's [N] is [N, 1] for a client, and the reshape takes the 1 away again."""
    config = build_model_config(signature(LENGTH), 4, ConfigOptions(name="m"))
    assert list(config.input[0].dims) == [1]
    assert config.input[0].HasField("reshape")
    assert list(config.input[0].reshape.shape) == []


def test_a_scalar_is_one_element_without_reshape() -> None:
    """Triton refuses an empty reshape where there is no batching."""
    config = build_model_config(signature(TensorSpec("x", DataType.BYTES, ())), 0, ConfigOptions(name="m"))
    assert list(config.input[0].dims) == [1]
    assert not config.input[0].HasField("reshape")


@pytest.mark.parametrize("shape", [(), (1, 3), (3,)])
def test_batching_needs_a_free_first_dimension(shape: tuple[int, ...]) -> None:
    """The refusal names the tensor, its shape and the way out."""
    with pytest.raises(UsageError, match="'x' has shape") as refused:
        build_model_config(signature(TensorSpec("x", DataType.FP32, shape)), 4, ConfigOptions(name="m"))
    assert "dynamic_axes" in str(refused.value.hint)


def test_an_output_may_be_what_keeps_a_model_from_batching() -> None:
    """Every output counts, not only the inputs."""
    outputs = (TensorSpec("y", DataType.FP32, (-1, 2)), TensorSpec("label", DataType.INT64, (1,)))
    with pytest.raises(UsageError, match="output 'label'"):
        build_model_config(signature(IMAGE, outputs=outputs), 4, ConfigOptions(name="m"))


def test_a_dimension_of_zero_has_no_configuration() -> None:
    """Triton's dims are 1 or more, or -1, and must equal a fixed dim of the model."""
    with pytest.raises(InvalidModelError, match="dimension of 0"):
        build_model_config(signature(TensorSpec("x", DataType.FP32, (0, 3))), 0, ConfigOptions(name="m"))


def test_optional_inputs_are_listed_only_without_batching() -> None:
    """Triton's backend refuses `optional` in a model that batches."""
    default = TensorSpec("scale", DataType.FP32, (1,), optional=True)
    assert [i.name for i in build_model_config(signature(IMAGE, default), 4, ConfigOptions(name="m")).input] == [
        "image"
    ]
    alone = build_model_config(signature(IMAGE, default), 0, ConfigOptions(name="m"))
    assert [(i.name, i.optional) for i in alone.input] == [("image", False), ("scale", True)]


@pytest.mark.parametrize("data_type", list(DataType), ids=lambda data_type: data_type.value)
def test_every_type_has_its_name_in_the_configuration(data_type: DataType) -> None:
    """Strings are TYPE_STRING, all others are called as on the wire."""
    from tritonclient.grpc.model_config_pb2 import DataType as ConfigType

    config = build_model_config(signature(TensorSpec("x", data_type, (-1, 2))), 4, ConfigOptions(name="m"))
    assert ConfigType.Name(config.input[0].data_type) == data_type.config_name


def test_portable_by_default() -> None:
    """Without a kind Triton takes each GPU where there is one, else the CPU."""
    from tritonclient.grpc.model_config_pb2 import ModelInstanceGroup

    group = build_model_config(signature(IMAGE), 4, ConfigOptions(name="m")).instance_group[0]
    assert (group.kind, group.count, list(group.gpus)) == (ModelInstanceGroup.KIND_AUTO, 1, [])
    gpus = build_model_config(signature(IMAGE), 4, ConfigOptions(name="m", devices=Devices("gpu", (0, 2)), instances=3))
    assert gpus.instance_group[0].kind == ModelInstanceGroup.KIND_GPU
    assert (gpus.instance_group[0].count, list(gpus.instance_group[0].gpus)) == (3, [0, 2])


def test_threads_are_parameters_and_parallel_ones_switch_the_execution_mode() -> None:
    """ONNX Runtime ignores inter-op threads in its sequential mode."""
    options = ConfigOptions(name="m", threads=2, parallel_threads=3)
    parameters = build_model_config(signature(IMAGE), 4, options).parameters
    assert {key: value.string_value for key, value in parameters.items()} == {
        "intra_op_thread_count": "2",
        "inter_op_thread_count": "3",
        "execution_mode": "1",
    }


def test_a_queue_policy_works_without_batching_too() -> None:
    """The scheduler of dynamic batching is what has the queue."""
    policy = QueuePolicy(timeout_action="delay", default_timeout_us=500, max_queue_size=9)
    config = build_model_config(signature(IMAGE), 0, ConfigOptions(name="m", queue_policy=policy))
    written = config.dynamic_batching.default_queue_policy
    assert (written.timeout_action, written.default_timeout_microseconds, written.max_queue_size) == (1, 500, 9)
    with pytest.raises(UsageError, match="`max_queue_delay_us`"):
        build_model_config(signature(IMAGE), 0, ConfigOptions(name="m", max_queue_delay_us=5))


def test_requests_without_a_priority_come_last_by_default() -> None:
    """Triton wants a default level as soon as there are levels."""
    config = build_model_config(signature(IMAGE), 4, ConfigOptions(name="m", priority_levels=3))
    assert config.dynamic_batching.default_priority_level == 3


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("all", VersionPolicy()),
        ("latest:2", VersionPolicy(latest=2)),
        ("specific:3,1", VersionPolicy(specific=(1, 3))),
    ],
)
def test_version_policies_are_read_as_triton_has_them(text: str, policy: VersionPolicy) -> None:
    """Three kinds, written as on the command line."""
    assert parse_version_policy(text) == policy
    config = build_model_config(signature(IMAGE), 4, ConfigOptions(name="m", version_policy=policy))
    assert config.version_policy.WhichOneof("policy_choice") == text.split(":", maxsplit=1)[0]


@pytest.mark.parametrize("text", ["", "latest", "latest:0", "specific:", "specific:1;2", "newest", "latest:-1"])
def test_other_version_policies_are_usage_errors(text: str) -> None:
    """With the three kinds as the hint."""
    with pytest.raises(UsageError) as refused:
        parse_version_policy(text)
    assert "latest:2" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("policy", "served"),
    [(VersionPolicy(), True), (VersionPolicy(latest=1), False), (VersionPolicy(latest=2), True),
     (VersionPolicy(specific=(2,)), True), (VersionPolicy(specific=(3,)), False)],
)  # fmt: skip
def test_a_policy_knows_which_versions_it_serves(policy: VersionPolicy, served: bool) -> None:
    """Version 2 beside versions 1 and 3."""
    assert policy.serves(2, (1, 3)) is served


def test_what_is_built_breaks_no_rule_and_fits_its_model() -> None:
    """The builder and the rules agree."""
    model = signature(IMAGE, LENGTH)
    for max_batch_size in (0, 1, 16):
        config = build_model_config(model, max_batch_size, ConfigOptions(name="m", instances=2, threads=1))
        assert check_config(config, "m") == ()
        assert list(check_against_model(config, model)) == []
