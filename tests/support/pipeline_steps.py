"""Steps of pipelines as the graph sees them, by short texts: nothing is packaged for tests of wiring and shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from serve_deploy.manifest import BatchingProof
from serve_deploy.pipelines.file import PipelineText, parse_pipeline
from serve_deploy.pipelines.graph import Step
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec

FILE = Path("pipeline.yaml")


def make_tensors(text: str) -> tuple[TensorSpec, ...]:
    """`image FP32 -1,3,224,224; mask? BOOL -1,1`: a question mark is an optional input."""
    parts = [part.split() for part in text.split(";")]
    return tuple(
        TensorSpec(name.rstrip("?"), DataType(kind), tuple(map(int, shape.split(","))), optional=name.endswith("?"))
        for name, kind, shape in parts
    )


def make_step(name: str, inputs: str, outputs: str, max_batch_size: int = 8, **more: object) -> Step:
    """A step that a file named after it was made into."""
    signature = ModelSignature(make_tensors(inputs), make_tensors(outputs))
    return Step(name, name, f"{name}.onnx", signature, max_batch_size, **more)  # type: ignore[arg-type]


_CANNOT = BatchingProof(verdict="not_batchable", max_batch_size=0, evidence="rows influence each other")
STEPS = {
    step.name: step
    for step in (
        make_step("decode", "data BYTES -1,1", "image FP32 -1,3,224,224; size INT64 -1,2"),
        make_step("decode_last", "data BYTES -1,1", "image FP32 -1,224,224,3"),
        make_step("decode_any", "data BYTES -1,1", "image FP32 -1,3,-1,-1"),
        make_step("decode_raw", "data BYTES -1,1", "image UINT8 -1,3,224,224"),
        make_step("classifier", "pixels FP32 -1,3,224,224", "logits FP32 -1,1000", 16),
        make_step("classifier_2", "pixels FP32 -1,3,224,224", "logits FP32 -1,1000", 4),
        make_step("by_name", "image FP32 -1,3,256,256", "logits FP32 -1,1000"),
        make_step("single", "pixels FP32 1,3,224,224", "logits FP32 1,1000", 0),
        make_step("unbatched", "pixels FP32 3,224,224", "logits FP32 1000", 0),
        make_step("mixing", "pixels FP32 -1,3,224,224", "logits FP32 -1,1000", 0, batching=_CANNOT),
        make_step("any_rows", "pixels FP32 -1,3,224,224", "logits FP32 -1,1000", 0),
        make_step("sixteen", "pixels FP32 16,3,224,224", "logits FP32 16,1000", 0),
        make_step("four", "rows FP32 4,1000", "y FP32 4,2", 0),
        make_step("labels", "scores FP32 -1,-1", "label BYTES -1,5; score FP32 -1,5", 64),
        make_step("blend", "a FP32 -1,1000; b FP32 -1,1000", "scores FP32 -1,1000"),
        make_step("masked", "scores FP32 -1,1000; mask? BOOL -1,1000", "scores FP32 -1,1000"),
        make_step("needs_mask", "scores FP32 -1,1000; mask BOOL -1,1000", "kept FP32 -1,1000"),
        make_step("free", "x? FP32 -1,3", "y FP32 -1,3"),
        make_step("echo", "x FP32 -1,3", "x FP32 -1,3"),
        make_step("text", "ids INT64 -1,-1", "vector FP32 -1,384"),
        make_step("count", "rows FP32 -1,1000", "n INT64 -1", 0),
    )
}


def read_case(text: str) -> tuple[PipelineText, list[Step]]:
    """A pipeline file whose steps name models of STEPS."""
    pipeline = parse_pipeline(FILE, yaml.safe_load(text))
    return pipeline, [replace(STEPS[step.source], name=step.name, given=step.inputs) for step in pipeline.steps]
