"""Why each line of a generated configuration says what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from serve_deploy.model_config.options import ConfigOptions
from serve_deploy.model_config.sequence_batching import explain_sequences
from serve_deploy.tensors.types import ModelSignature, TensorSpec

if TYPE_CHECKING:
    from serve_deploy.manifest import BatchingProof

_GPU = "optimization.execution_accelerators.gpu_execution_accelerator"
_CPU = "optimization.execution_accelerators.cpu_execution_accelerator"
_POLICY = "dynamic_batching.default_queue_policy"
_CHOSEN = "chosen by the user"
_FIXED = {
    "name": "the model's folder, and its name in requests",
    "backend": "Triton runs the file in ONNX Runtime",
    "version_policy": _CHOSEN,
    "version_policy.latest.num_versions": "how many of the newest versions to serve",
    "version_policy.specific.versions": "the only versions to serve",
    **{f"{kind}.{field}": "as in the model" for kind in ("input", "output") for field in ("name", "data_type")},
    **{f"{kind}.reshape": "the model has no dimension here besides the batch" for kind in ("input", "output")},
    "input.optional": "the model has a default for it",
    "output.label_filename": "the class name of each index",
    "optimization": _CHOSEN,
    _GPU: "used by instances on a GPU",
    f"{_GPU}.name": "NVIDIA TensorRT, through ONNX Runtime",
    f"{_GPU}.parameters": "passed on to TensorRT",
    f"{_GPU}.parameters[trt_profile_min_shapes]": "the smallest shapes of the samples",
    f"{_GPU}.parameters[trt_profile_opt_shapes]": "the median shapes of the samples, in full batches: fastest here",
    f"{_GPU}.parameters[trt_profile_max_shapes]": "the largest shapes; for larger ones TensorRT builds another engine",
    _CPU: "used by instances on a CPU",
    f"{_CPU}.name": "Intel OpenVINO, through ONNX Runtime",
    "dynamic_batching.preferred_batch_size": _CHOSEN,
    "dynamic_batching.max_queue_delay_microseconds": "0: batch only what is already waiting",
    "dynamic_batching.preserve_ordering": _CHOSEN,
    "dynamic_batching.priority_levels": "1 is served first",
    "dynamic_batching.default_priority_level": "for requests without a priority",
    _POLICY: "limits for waiting requests",
    f"{_POLICY}.timeout_action": "on timeout, REJECT refuses the request and DELAY moves it behind the others",
    f"{_POLICY}.default_timeout_microseconds": "0: no timeout",
    f"{_POLICY}.allow_timeout_override": "a request may set its own timeout",
    f"{_POLICY}.max_queue_size": "0: no limit",
    "parameters": "read by the ONNX Runtime backend",
    "parameters[intra_op_thread_count]": f"threads within an operator, {_CHOSEN}",
    "parameters[inter_op_thread_count]": f"threads across branches, {_CHOSEN}",
    "parameters[execution_mode]": "1: branches of the graph run in parallel",
    "model_warmup": "warm-up at load, so the first request is not slow",
    "model_warmup.name": "its name in Triton's log",
    "model_warmup.batch_size": "how many samples it has",
    "model_warmup.inputs": "from the samples",
    "response_cache": "works only on a server that has a cache",
    "response_cache.enable": _CHOSEN,
}


def explain_config(
    config: Any,
    signature: ModelSignature,
    batching: BatchingProof,
    options: ConfigOptions,
    *,
    batch_size_given: bool = False,
) -> Mapping[str, str]:
    """The reason for each line that `build_model_config` makes, by path, for `format_config`.

    `batch_size_given` says that the user chose max_batch_size, where the model batches at all.
    """
    reasons = dict(_FIXED)
    reasons["max_batch_size"] = _explain_batching(batching, batch_size_given)
    reasons["dynamic_batching"] = (
        "waiting requests run together, up to max_batch_size"
        if config.max_batch_size
        else "only for the queue policy: each request runs alone"
    )
    reasons |= _explain_instances(options)
    reasons |= explain_sequences(options.sequences) if options.sequences else {}
    policy = options.queue_policy
    if policy and policy.default_timeout_us:
        reasons[f"{_POLICY}.default_timeout_microseconds"] = _CHOSEN
    if policy and policy.max_queue_size:
        reasons[f"{_POLICY}.max_queue_size"] = f"{_CHOSEN}; Triton rejects requests beyond it"
    if options.max_queue_delay_us:
        reasons["dynamic_batching.max_queue_delay_microseconds"] = _CHOSEN
    shapes = {(kind, spec.name): spec for kind in ("input", "output") for spec in getattr(signature, f"{kind}s")}
    for kind in ("input", "output"):
        for index, tensor in enumerate(getattr(config, kind)):
            spec = shapes[kind, tensor.name]
            reasons[f"{kind}[{index}].dims"] = _explain_dims(spec, batched=config.max_batch_size > 0)
            if options.sequences and kind == "input" and spec.name in options.sequences.single:
                reasons[f"{kind}[{index}].dims"] = (
                    "the first is 1: a request is of one sequence; the rest as in the model"
                )
    return {**reasons, **options.backend.reasons}


def _explain_batching(batching: BatchingProof, given: bool) -> str:
    if batching.verdict == "batchable" and batching.max_batch_size == 0:
        return f"0: {_CHOSEN}, although the model batches"
    if batching.verdict == "batchable":
        default = f"{batching.max_batch_size} is the default, serve loadtest shows whether a larger one is faster"
        return "; ".join([*_explain_proof(batching), _CHOSEN if given else default])
    if batching.max_batch_size:
        return batching.evidence
    known = "no batching" if batching.verdict == "not_batchable" else "no batching, because it is not proven"
    return f"0, {known}: {batching.evidence}"


def _explain_proof(batching: BatchingProof) -> Iterator[str]:
    """What was run and what was not, and whether the graph agrees."""
    understood = batching.graph is None or batching.graph.verdict == "independent"
    yield f"{'proven' if understood else 'seen'} at batch {batching.sizes_run}: every row equals its single run"
    if batching.sizes_not_run:
        yield f"{batching.sizes_not_run} not run"
    if not understood:
        yield "the graph is not understood"


def _explain_instances(options: ConfigOptions) -> dict[str, str]:
    where = "on each GPU: " if options.kind == "gpu" else ""
    runs = options.backend.runs
    count = f"{where}one {runs}"
    if options.instances is not None and options.instances > 1:
        count = f"{where}{options.instances} {runs}s, {_CHOSEN}"
    elif options.kind != "gpu" and options.backend.name == "onnxruntime":
        count += " uses all cores; each further one needs its own memory"
    return {
        "instance_group": "" if options.kind else "no kind: on every GPU if there is one, else on the CPU",
        "instance_group.count": count,
        "instance_group.kind": _CHOSEN,
        "instance_group.gpus": _CHOSEN,
    }


def _explain_dims(spec: TensorSpec, *, batched: bool) -> str:
    any_size = "-1: any size; " if -1 in (spec.shape[1:] if batched else spec.shape) else ""
    if not spec.shape:
        return "a scalar in the model, [1] for clients"
    return any_size + (f"{list(spec.shape)} in the model, the first is the batch" if batched else "as in the model")
