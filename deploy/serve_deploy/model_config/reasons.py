"""Why each line of a generated configuration says what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.model_config.options import ConfigOptions
from serve_deploy.tensors.types import ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.manifest import BatchingProof

_GPU = "optimization.execution_accelerators.gpu_execution_accelerator"
_CPU = "optimization.execution_accelerators.cpu_execution_accelerator"
_POLICY = "dynamic_batching.default_queue_policy"
_FIXED = {
    "name": "the model's folder, and its name in requests",
    "backend": "Triton runs the file in ONNX Runtime",
    "version_policy": "asked for with --version-policy",
    "version_policy.latest.num_versions": "so many of the newest versions",
    "version_policy.specific.versions": "exactly these",
    "input.name": "as in the model",
    "input.data_type": "as in the model",
    "input.reshape": "the model has no dimension here beside the batch",
    "input.optional": "the model has a default for it",
    "output.name": "as in the model",
    "output.data_type": "as in the model",
    "output.reshape": "the model has no dimension here beside the batch",
    "output.label_filename": "the class name of each index",
    "optimization": "asked for with --optimize",
    _GPU: "used where the instance runs on a GPU",
    f"{_GPU}.name": "NVIDIA TensorRT, through ONNX Runtime",
    f"{_GPU}.parameters": "passed on to TensorRT",
    f"{_GPU}.parameters[trt_profile_min_shapes]": "the smallest shapes of the samples",
    f"{_GPU}.parameters[trt_profile_opt_shapes]": "the middle of the samples, in full batches: fastest here",
    f"{_GPU}.parameters[trt_profile_max_shapes]": "the largest; beyond it TensorRT builds anew",
    _CPU: "used where the instance runs on a CPU",
    f"{_CPU}.name": "Intel OpenVINO, through ONNX Runtime",
    "dynamic_batching.preferred_batch_size": "asked for with --preferred-batch-size",
    "dynamic_batching.max_queue_delay_microseconds": "0: batches form from what waits already; nobody waits for more",
    "dynamic_batching.preserve_ordering": "asked for with --preserve-ordering",
    "dynamic_batching.priority_levels": "1 is served first",
    "dynamic_batching.default_priority_level": "for requests that name none",
    _POLICY: "how long and how many requests may wait",
    f"{_POLICY}.timeout_action": "REJECT: too late is refused; DELAY: goes behind the others",
    f"{_POLICY}.default_timeout_microseconds": "0: no limit to waiting",
    f"{_POLICY}.allow_timeout_override": "a request may bring its own",
    f"{_POLICY}.max_queue_size": "0: no limit; beyond it requests are refused at once",
    "parameters": "read by the ONNX Runtime backend",
    "parameters[intra_op_thread_count]": "threads within an operator, asked for with --threads",
    "parameters[inter_op_thread_count]": "threads across branches, asked for with --parallel-threads",
    "parameters[execution_mode]": "1: branches of the graph run side by side",
    "model_warmup": "nobody waits for the first run: it is made at load",
    "model_warmup.name": "for the log",
    "model_warmup.batch_size": "so many samples at once",
    "model_warmup.inputs": "from the samples",
    "response_cache": "needs a server with --cache-config",
    "response_cache.enable": "asked for with --response-cache",
}


def explain_config(
    config: Any,
    signature: ModelSignature,
    batching: BatchingProof,
    options: ConfigOptions,
    *,
    batch_size_given: bool = False,
) -> Mapping[str, str]:
    """The reason of each line of a configuration of `build_model_config`, by path, for `format_config`.

    `batch_size_given` says that the user chose max_batch_size, where the model batches at all.
    """
    reasons = dict(_FIXED)
    reasons["max_batch_size"] = _explain_batching(batching, batch_size_given)
    reasons["dynamic_batching"] = _explain_scheduling(config.max_batch_size)
    reasons |= _explain_instances(options)
    policy = options.queue_policy
    if policy and policy.default_timeout_us:
        reasons[f"{_POLICY}.default_timeout_microseconds"] = "asked for with --queue-timeout"
    if policy and policy.max_queue_size:
        reasons[f"{_POLICY}.max_queue_size"] = "asked for with --max-queue-size: beyond it requests are refused at once"
    if options.max_queue_delay_us:
        reasons["dynamic_batching.max_queue_delay_microseconds"] = "asked for with --max-queue-delay"
    shapes = {(kind, spec.name): spec for kind in ("input", "output") for spec in getattr(signature, f"{kind}s")}
    for kind in ("input", "output"):
        for index, tensor in enumerate(getattr(config, kind)):
            spec = shapes[kind, tensor.name]
            reasons[f"{kind}[{index}].dims"] = _explain_dims(spec, batched=config.max_batch_size > 0)
    return reasons


def _explain_batching(batching: BatchingProof, given: bool) -> str:
    if batching.verdict == "batchable" and batching.max_batch_size == 0:
        return "0: asked for with --max-batch-size, although the model batches"
    if batching.verdict == "batchable":
        sizes = ", ".join(map(str, batching.batch_sizes))
        size = "asked for" if given else f"{batching.max_batch_size} by default, serve loadtest tells whether more pays"
        return f"proven: rows equal their single runs at batch {sizes}; {size}"
    if batching.max_batch_size:
        return batching.evidence
    known = "no batching" if batching.verdict == "not_batchable" else "no batching, for want of a proof"
    return f"0, {known}: {batching.evidence}"


def _explain_scheduling(max_batch_size: int) -> str:
    if max_batch_size:
        return "requests that wait are run together, up to max_batch_size"
    return "for the queue policy alone: every request runs by itself"


def _explain_instances(options: ConfigOptions) -> dict[str, str]:
    count = "one ONNX Runtime session uses all cores by itself; each further one costs its memory"
    if options.instances > 1:
        count = f"asked for with --instances: {options.instances} ONNX Runtime sessions"
    if options.kind == "gpu":
        count = f"on each GPU: {count.split(': ')[-1]}" if options.instances > 1 else "one ONNX Runtime session a GPU"
    kind = "without kind: on each GPU where there is one, else on the CPU"
    return {
        "instance_group": kind if options.kind is None else "",
        "instance_group.count": count,
        "instance_group.kind": f"asked for with --{options.kind}",
        "instance_group.gpus": "asked for with --gpu",
    }


def _explain_dims(spec: TensorSpec, *, batched: bool) -> str:
    words = ["-1: any size"] if -1 in (spec.shape[1:] if batched else spec.shape) else []
    if not spec.shape:
        words.append("a scalar in the model: [1] for the client")
    elif batched:
        words.append(f"{list(spec.shape)} in the model, where the first is the batch")
    else:
        words.append("as in the model")
    return "; ".join(words)
