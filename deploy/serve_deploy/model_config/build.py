"""Build Triton's ModelConfig from a model's signature."""

from __future__ import annotations

from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.model_config.options import ConfigOptions, QueuePolicy, VersionPolicy
from serve_deploy.model_config.sequence_batching import as_clients_send, sequence_message
from serve_deploy.tensors.types import ModelSignature, TensorSpec

# A message in protobuf's JSON form: a field of None is not set, an empty message is.
Message = dict[str, Any]


def build_model_config(signature: ModelSignature, max_batch_size: int, options: ConfigOptions) -> Any:
    """Derive the ModelConfig; UsageError where the model cannot batch, InvalidModelError where none is legal."""
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    require_batch_axis(signature, max_batch_size)
    batched, sequences = max_batch_size > 0, options.sequences
    hidden = sequences.served_by_triton if sequences else frozenset()
    message = {
        "name": options.name,
        "backend": options.backend.name,
        "platform": options.backend.platform,
        "max_batch_size": max_batch_size,
        "version_policy": version_policy_message(options.version_policy),
        "input": [
            {**_tensor(as_clients_send(spec, sequences), batched=batched), "optional": spec.optional}
            for spec in client_inputs(signature, max_batch_size, optional=options.backend.batches_optional)
            if spec.name not in hidden
        ],
        "output": [
            {**_tensor(spec, batched=batched), "label_filename": options.label_files.get(spec.name)}
            for spec in signature.outputs
            if spec.name not in hidden
        ],
        "dynamic_batching": None if sequences else _dynamic_batching(max_batch_size, options),
        "sequence_batching": sequence_message(sequences, options, batched=batched) if sequences else None,
        "instance_group": [_instances(options)],
        "parameters": _parameters(options),
        "optimization": _optimization(options),
        "model_warmup": _warmup(options) if options.warmup else None,
        "response_cache": {"enable": True} if options.response_cache else None,
    }
    return ParseDict(message, ModelConfig())


def client_inputs(signature: ModelSignature, max_batch_size: int, *, optional: bool = False) -> tuple[TensorSpec, ...]:
    """The inputs to list; of ONNX, Triton allows optional ones (initializers with a default) only without batching."""
    return tuple(spec for spec in signature.inputs if optional or max_batch_size == 0 or not spec.optional)


def require_batch_axis(signature: ModelSignature, max_batch_size: int) -> None:
    """Raise UsageError where a tensor has no free first dimension that could be the batch."""
    if max_batch_size == 0:
        return
    if max_batch_size < 0:
        raise UsageError(f"`max_batch_size` is {max_batch_size}", hint="it must be 0 (no batching) or more")
    for kind, specs in (("input", client_inputs(signature, max_batch_size)), ("output", signature.outputs)):
        for spec in specs:
            if not spec.shape or spec.shape[0] != -1:
                raise UsageError(
                    f"{kind} '{spec.name}' has shape {list(spec.shape)}: `max_batch_size={max_batch_size}` "
                    "needs a free first dimension (-1) in every input and output",
                    hint="use `max_batch_size=0`, or export the model with that dimension in dynamic_axes",
                )


def tensor_dims(spec: TensorSpec, *, batched: bool) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Its dims as Triton wants them, and the reshape to the model's own where that has no dims left, else None."""
    shape = spec.shape[1:] if batched else spec.shape
    if 0 in shape:
        raise InvalidModelError(
            f"'{spec.name}' has a dimension of 0 in its shape {list(spec.shape)}, which no Triton configuration allows",
            hint="`fix=True` makes that dimension free in a copy; or export the model with it free (dynamic_axes)",
        )
    if shape:
        return shape, None
    # Triton has no rank 0. Without batching its backend maps [1] to a scalar, and a reshape is an error.
    return (1,), (() if batched else None)


def _tensor(spec: TensorSpec, *, batched: bool) -> Message:
    dims, reshape = tensor_dims(spec, batched=batched)
    shape = None if reshape is None else {"shape": reshape}
    return {"name": spec.name, "data_type": spec.data_type.config_name, "dims": dims, "reshape": shape}


def version_policy_message(policy: VersionPolicy | None) -> Message | None:
    """What a configuration says of the versions to serve; None where Triton decides."""
    if policy is None:
        return None
    if policy.specific:
        return {"specific": {"versions": policy.specific}}
    return {"all": {}} if policy.latest is None else {"latest": {"num_versions": policy.latest}}


def _dynamic_batching(max_batch_size: int, options: ConfigOptions) -> Message | None:
    if max_batch_size == 0 and (options.max_queue_delay_us or options.preferred_batch_sizes):
        raise UsageError("`max_queue_delay_us` and `preferred_batch_size` need a model that batches")
    if options.default_priority_level and not options.priority_levels:
        raise UsageError(
            f"`default_priority_level={options.default_priority_level}`: the model has no priority levels",
            hint="`priority_levels` sets how many there are",
        )
    # A queue policy needs the scheduler of dynamic batching even where every request stays alone.
    if max_batch_size == 0 and not (options.queue_policy or options.priority_levels or options.preserve_ordering):
        return None
    return {
        "max_queue_delay_microseconds": options.max_queue_delay_us or 0,
        "preferred_batch_size": options.preferred_batch_sizes,
        "preserve_ordering": options.preserve_ordering,
        "priority_levels": options.priority_levels,
        "default_priority_level": options.default_priority_level or options.priority_levels,
        "default_queue_policy": _queue_policy(options.queue_policy) if options.queue_policy else None,
    }


def _queue_policy(policy: QueuePolicy) -> Message:
    return {
        "timeout_action": policy.timeout_action.upper(),
        "default_timeout_microseconds": policy.default_timeout_us,
        "allow_timeout_override": policy.allow_timeout_override,
        "max_queue_size": policy.max_queue_size,
    }


def _instances(options: ConfigOptions) -> Message:
    count = 1 if options.instances is None else options.instances
    if count < 1:
        raise UsageError(f"`instances={count}`: a model needs at least 1 instance")
    kind = f"KIND_{options.kind.upper()}" if options.kind else None
    return {"count": count, "gpus": options.gpus, "kind": kind}


def _parameters(options: ConfigOptions) -> Message:
    values = {
        "intra_op_thread_count": options.threads,
        "inter_op_thread_count": options.parallel_threads,
        # ONNX Runtime ignores inter-op threads unless it may run branches side by side.
        "execution_mode": None if options.parallel_threads is None else 1,
    }
    given = {**options.backend.parameters, **{key: value for key, value in values.items() if value is not None}}
    return {key: {"string_value": str(value)} for key, value in given.items()}


def _optimization(options: ConfigOptions) -> Message | None:
    if options.optimization is None:
        return None
    device = "cpu" if options.optimization.accelerator == "openvino" else "gpu"
    if device == "gpu" and options.kind == "cpu":
        name = {"tensorrt": "TensorRT", "cuda": "CUDA"}[options.optimization.accelerator]
        raise UsageError(f"{name} runs only on GPUs, but the instances are on the CPU", hint="leave out `cpu`")
    item = {"name": options.optimization.accelerator, "parameters": dict(options.optimization.parameters)}
    return {"execution_accelerators": {f"{device}_execution_accelerator": [item]}}


def _warmup(options: ConfigOptions) -> list[Message]:
    inputs = {
        item.name: {"data_type": item.config_type, "dims": item.dims, "input_data_file": item.file_name}
        for item in options.warmup
    }
    return [{"name": f"batch_{size}", "batch_size": size, "inputs": inputs} for size in options.warmup_batch_sizes]
