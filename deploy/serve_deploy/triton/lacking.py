"""What a Triton here lacks that the production container has, by what it says when it refuses a model."""

from __future__ import annotations

_SIGNS = (
    ("unable to find backend library", "this machine's Triton does not have the backend"),
    ("needs the native onnxruntime backend", "it needs the native ONNX Runtime backend of the container"),
    ("has kind KIND_GPU but", "this machine has no GPU"),
    # Without a kind, the GPUs that are listed make it one of the CPU where they are not there.
    ("has kind KIND_CPU but specifies", "this machine does not have the GPUs"),
    ("openvino", "this machine's Triton does not have OpenVINO"),
)


def explain_lack(reason: str) -> str | None:
    """What is missing, if that is why Triton refuses a model; None where the model itself may be at fault."""
    return next((words for sign, words in _SIGNS if sign in reason), None)
