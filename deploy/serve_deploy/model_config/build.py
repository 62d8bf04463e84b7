"""Build Triton's ModelConfig from a model's signature."""

from __future__ import annotations

from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.model_config.options import ConfigOptions, QueuePolicy, VersionPolicy
from serve_deploy.tensors.types import ModelSignature, TensorSpec

BACKEND = "onnxruntime"


def build_model_config(signature: ModelSignature, max_batch_size: int, options: ConfigOptions) -> Any:
    """Derive the ModelConfig; UsageError where the model cannot batch, InvalidModelError where none is legal."""
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    require_batch_axis(signature, max_batch_size)
    config = ModelConfig(name=options.name, backend=BACKEND, max_batch_size=max_batch_size)
    _set_version_policy(config, options.version_policy)
    for spec in client_inputs(signature, max_batch_size):
        _set_tensor(config.input.add(), spec, batched=max_batch_size > 0)
        config.input[-1].optional = spec.optional
    for spec in signature.outputs:
        _set_tensor(config.output.add(), spec, batched=max_batch_size > 0)
        config.output[-1].label_filename = options.label_files.get(spec.name, "")
    _set_scheduling(config, options)
    _set_instances(config, options)
    _set_optimization(config, options)
    _set_warmup(config, options)
    if options.response_cache:
        config.response_cache.enable = True
    return config


def client_inputs(signature: ModelSignature, max_batch_size: int) -> tuple[TensorSpec, ...]:
    """The inputs to list: Triton allows optional ones (initializers with a default) only without batching."""
    return tuple(spec for spec in signature.inputs if max_batch_size == 0 or not spec.optional)


def require_batch_axis(signature: ModelSignature, max_batch_size: int) -> None:
    """Raise UsageError where a tensor has no free first dimension that could be the batch."""
    if max_batch_size == 0:
        return
    if max_batch_size < 0:
        raise UsageError(f"max_batch_size is {max_batch_size}", hint="give 0 (no batching) or more")
    for kind, specs in (("input", client_inputs(signature, max_batch_size)), ("output", signature.outputs)):
        for spec in specs:
            if not spec.shape or spec.shape[0] != -1:
                raise UsageError(
                    f"{kind} {spec.name!r} has shape {list(spec.shape)}: max_batch_size {max_batch_size} "
                    "needs a free first dimension (-1) in every input and output",
                    hint="use --max-batch-size 0, or export the model with that dimension in dynamic_axes",
                )


def tensor_dims(spec: TensorSpec, *, batched: bool) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Its dims as Triton wants them, and the reshape to the model's own where that has no dims left, else None."""
    shape = spec.shape[1:] if batched else spec.shape
    if 0 in shape:
        raise InvalidModelError(
            f"{spec.name!r} has a dimension of 0 in its shape {list(spec.shape)}: no Triton configuration can say that",
            hint="--fix makes that dimension free in a copy; or export the model with it free (dynamic_axes)",
        )
    if shape:
        return shape, None
    # Triton knows no rank 0. Without batching its backend maps [1] to a scalar by itself, and a reshape is an error.
    return (1,), (() if batched else None)


def _set_tensor(tensor: Any, spec: TensorSpec, *, batched: bool) -> None:
    from tritonclient.grpc.model_config_pb2 import DataType

    dims, reshape = tensor_dims(spec, batched=batched)
    tensor.name = spec.name
    tensor.data_type = DataType.Value(spec.data_type.config_name)
    tensor.dims.extend(dims)
    if reshape is not None:
        tensor.reshape.SetInParent()


def _set_version_policy(config: Any, policy: VersionPolicy | None) -> None:
    if policy is None:
        return
    if policy.specific:
        config.version_policy.specific.versions.extend(policy.specific)
    elif policy.latest is not None:
        config.version_policy.latest.num_versions = policy.latest
    else:
        config.version_policy.all.SetInParent()


def _set_scheduling(config: Any, options: ConfigOptions) -> None:
    wanted = options.queue_policy or options.priority_levels or options.preserve_ordering
    if config.max_batch_size == 0 and (options.max_queue_delay_us or options.preferred_batch_sizes):
        raise UsageError("a queue delay and preferred batch sizes need a model that batches (max_batch_size > 0)")
    if options.default_priority_level and not options.priority_levels:
        raise UsageError(
            f"default priority {options.default_priority_level}: the model has no priority levels",
            hint="--priority-levels N says how many there are",
        )
    # A queue policy needs the scheduler of dynamic batching even where every request stays alone.
    if config.max_batch_size == 0 and not wanted:
        return
    batching = config.dynamic_batching
    batching.SetInParent()
    batching.max_queue_delay_microseconds = options.max_queue_delay_us
    batching.preferred_batch_size.extend(options.preferred_batch_sizes)
    batching.preserve_ordering = options.preserve_ordering
    if options.priority_levels:
        batching.priority_levels = options.priority_levels
        batching.default_priority_level = options.default_priority_level or options.priority_levels
    if options.queue_policy:
        _set_queue_policy(batching.default_queue_policy, options.queue_policy)


def _set_queue_policy(message: Any, policy: QueuePolicy) -> None:
    message.timeout_action = type(message).TimeoutAction.Value(policy.timeout_action.upper())
    message.default_timeout_microseconds = policy.default_timeout_us
    message.allow_timeout_override = policy.allow_timeout_override
    message.max_queue_size = policy.max_queue_size


def _set_instances(config: Any, options: ConfigOptions) -> None:
    if options.instances < 1:
        raise UsageError(f"{options.instances} instances cannot serve", hint="give 1 or more")
    group = config.instance_group.add(count=options.instances, gpus=options.gpus)
    if options.kind:
        group.kind = type(group).Kind.Value(f"KIND_{options.kind.upper()}")


def _set_optimization(config: Any, options: ConfigOptions) -> None:
    for key, count in (
        ("intra_op_thread_count", options.threads),
        ("inter_op_thread_count", options.parallel_threads),
    ):
        if count is not None:
            config.parameters[key].string_value = str(count)
    if options.parallel_threads is not None:
        # ONNX Runtime ignores inter-op threads unless it may run branches side by side.
        config.parameters["execution_mode"].string_value = "1"
    if options.optimization is None:
        return
    accelerators = config.optimization.execution_accelerators
    tensorrt = options.optimization.accelerator == "tensorrt"
    if tensorrt and options.kind == "cpu":
        raise UsageError("TensorRT runs on GPUs only, and the instances are to be on the CPU", hint="leave out --cpu")
    target = accelerators.gpu_execution_accelerator if tensorrt else accelerators.cpu_execution_accelerator
    target.add(name=options.optimization.accelerator, parameters=dict(options.optimization.parameters))


def _set_warmup(config: Any, options: ConfigOptions) -> None:
    from tritonclient.grpc.model_config_pb2 import DataType

    if not options.warmup:
        return
    for batch_size in options.warmup_batch_sizes:
        warmup = config.model_warmup.add(name=f"batch_{batch_size}", batch_size=batch_size)
        for item in options.warmup:
            entry = warmup.inputs[item.name]
            entry.data_type = DataType.Value(item.config_type)
            entry.dims.extend(item.dims)
            entry.input_data_file = item.file_name
