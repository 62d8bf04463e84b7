"""Right pipelines: how their steps are wired, what their tensors are, and what Triton's rules say of the result."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from pipeline_steps import FILE, STEPS, make_step, read_case

from serve_deploy.errors import InvalidModelError
from serve_deploy.model_config import check_config, check_ensemble_members
from serve_deploy.model_config.rules.tensors import Problem
from serve_deploy.pipelines.ensemble import build_ensemble_config
from serve_deploy.pipelines.file import PipelineText, StepText
from serve_deploy.pipelines.graph import Step
from serve_deploy.pipelines.plan import Joined, join
from serve_deploy.tensors.types import DataType, ModelSignature, TensorSpec


def read(text: str) -> Joined:
    return join(*read_case(text))


def wires(joined: Joined) -> list[str]:
    return [f"{wire.source} → {wire.target}" for wire in joined.wiring.wires]


def test_the_first_steps_inputs_come_with_the_request() -> None:
    """The others' come from what fits by type and shape."""
    joined = read("steps: {decode: {model: decode}, classifier: {model: classifier}, labels: {model: labels}}")
    assert wires(joined) == [
        "data → decode.data",
        "decode.image → classifier.pixels",
        "classifier.logits → labels.scores",
    ]
    assert joined.wiring.inputs == ("data",)
    assert {name: str(end) for name, end in joined.wiring.outputs.items()} == {
        "label": "labels.label",
        "score": "labels.score",
    }


def test_a_name_goes_before_a_shape() -> None:
    """Even where another tensor fits that nothing reads."""
    joined = read(
        """
        steps:
          one: {model: masked}
          other: {model: classifier, inputs: {pixels: pixels}}
          last: {model: needs_mask, inputs: {mask: mask}}
        outputs: [last.kept, other.logits]
        """
    )
    assert "one.scores → last.scores" in wires(joined)


def test_what_nothing_reads_goes_before_what_is_read() -> None:
    """So that a chain of equal tensors is a chain."""
    joined = read("steps: {classifier: {model: classifier}, masked: {model: masked}, labels: {model: labels}}")
    assert "masked.scores → labels.scores" in wires(joined)


def test_a_step_may_read_an_input_of_the_pipeline_by_its_name() -> None:
    """If a step above takes it, too."""
    joined = read(
        """
        steps:
          one: {model: classifier}
          other: {model: classifier_2}
        outputs: {one: one.logits, other: other.logits}
        """
    )
    assert wires(joined) == ["pixels → one.pixels", "pixels → other.pixels"]


def test_steps_may_stand_in_any_order_where_wires_are_named() -> None:
    """The last step's outputs are still the pipeline's."""
    joined = read(
        """
        steps:
          classifier: {model: classifier, inputs: {pixels: decode.image}}
          decode: {model: decode, inputs: {data: data}}
        outputs: [classifier.logits]
        """
    )
    assert wires(joined) == ["decode.image → classifier.pixels", "data → decode.data"]


@pytest.mark.parametrize(
    ("text", "size", "shape"),
    [
        ("steps: {decode: {model: decode}, classifier: {model: classifier}}", 8, (-1, 1)),
        ("steps: {decode: {model: decode}, classifier: {model: classifier_2}}", 4, (-1, 1)),
        ("max_batch_size: 2\nsteps: {decode: {model: decode}, classifier: {model: classifier}}", 2, (-1, 1)),
        ("max_batch_size: 0\nsteps: {decode: {model: decode}, classifier: {model: classifier}}", 0, (-1, 1)),
        ("steps: {decode: {model: decode}, single: {model: single}}", 0, (1, 1)),
        ("steps: {decode: {model: decode}, any_rows: {model: any_rows}}", 0, (-1, 1)),
        ("max_batch_size: 8\nsteps: {decode: {model: decode}, any_rows: {model: any_rows}}", 8, (-1, 1)),
    ],
)
def test_the_batch_is_the_smallest_of_the_steps(text: str, size: int, shape: tuple[int, ...]) -> None:
    """A row that one step fixes is fixed for the requests, over every step that batches."""
    unified = read(text).unified
    assert (unified.max_batch_size, unified.inputs[0].shape) == (size, shape)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "steps: {decode: {model: decode_any}, classifier: {model: classifier}}",
            "'decode.image' may be [-1, 3, -1, -1], and 'classifier.pixels' takes [-1, 3, 224, 224]: "
            "Triton refuses other sizes request by request",
        ),
        (
            "steps: {classifier: {model: classifier}, masked: {model: masked}}",
            "the optional input 'masked.mask' is left out",
        ),
        (
            "steps: {one: {model: masked, inputs: {mask: mask}}, "
            "other: {model: needs_mask, inputs: {scores: one.scores, mask: mask}}}",
            "every request needs 'mask': it is optional for 'one.mask', not for 'other.mask'",
        ),
    ],
)
def test_what_a_user_should_know_is_noted(text: str, note: str) -> None:
    """And nothing else."""
    assert read(text).unified.notes == (note,)


def test_an_input_is_optional_where_all_who_read_it_can_do_without() -> None:
    """It is mapped only where the file names it."""
    joined = read("steps: {classifier: {model: classifier}, masked: {model: masked, inputs: {mask: mask}}}")
    assert [(tensor.name, tensor.optional) for tensor in joined.unified.inputs] == [("pixels", False), ("mask", True)]


def judge(joined: Joined, steps: list[Step]) -> list[Problem]:
    """What serve check says of the ensemble, whose members have the steps' own configurations."""
    config = build_ensemble_config("ensemble", joined.wiring, joined.unified, steps, {})
    members = {step.model: member_config(step) for step in steps}
    served = dict.fromkeys(members, (1,))
    return [*check_config(config), *check_ensemble_members("ensemble", config, members, served)]


def member_config(step: Step) -> Any:
    from google.protobuf.json_format import ParseDict
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    def tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, Any]]:
        first = int(step.max_batch_size > 0)
        return [
            {"name": spec.name, "data_type": spec.data_type.config_name, "dims": spec.shape[first:]} for spec in specs
        ]

    signature = step.signature
    inputs = [
        {**tensor, "optional": spec.optional}
        for tensor, spec in zip(tensors(signature.inputs), signature.inputs, strict=True)
    ]
    message = {
        "backend": "python",
        "max_batch_size": step.max_batch_size,
        "input": inputs,
        "output": tensors(signature.outputs),
    }
    return ParseDict(message, ModelConfig())


_SIZES = st.sampled_from([-1, 1, 2, 3])
_KINDS = st.sampled_from([DataType.FP32, DataType.INT64])


@st.composite
def chains(draw: st.DrawFn) -> list[Step]:
    """Up to four steps, each of which reads the one above; sizes are the same, free, or now and then others."""
    made: list[Step] = []
    for number in range(draw(st.integers(1, 4))):
        name, batch = f"s{number}", draw(st.sampled_from([0, 1, 4]))
        above = made[-1].signature.outputs[0] if made else None
        inputs = [TensorSpec("x", above.data_type if above else draw(_KINDS), draw(shapes(batch, above)))]
        if draw(st.booleans()):
            inputs.append(TensorSpec("z", draw(_KINDS), draw(shapes(batch, None)), optional=draw(st.booleans())))
        outputs = [TensorSpec(each, draw(_KINDS), draw(shapes(batch, None))) for each in ("y", "w")]
        given = {"x": f"{made[-1].name}.y"} if made else {}
        given |= {"z": draw(st.sampled_from(["z", f"z{number}"]))} if len(inputs) > 1 else {}
        signature = ModelSignature(tuple(inputs), tuple(outputs))
        made.append(Step(name, name, f"{name}.onnx", signature, batch, given))
    return made


@st.composite
def shapes(draw: st.DrawFn, batch: int, above: TensorSpec | None) -> tuple[int, ...]:
    """Of a step of a batch size: what the tensor above has, with sizes freed, or any."""
    if above is None or draw(st.integers(0, 9)) == 0:
        lead = (-1,) if batch else (draw(_SIZES),)
        return (*lead, *draw(st.lists(_SIZES, min_size=1, max_size=2)))
    return tuple(
        -1 if batch and not axis else draw(st.sampled_from([size, -1])) for axis, size in enumerate(above.shape)
    )


@given(chains(), st.sampled_from([None, 0, 1, 4]))
def test_what_is_not_refused_keeps_every_rule_of_triton(made: list[Step], batch: int | None) -> None:
    """Whatever the steps are."""
    outputs = {f"{each.name}_{name}": f"{each.name}.{name}" for each in made for name in ("y", "w")}
    text = PipelineText(FILE, None, tuple(StepText(each.name, "model", each.model) for each in made), outputs, batch)
    try:
        joined = join(text, made)
    except InvalidModelError:
        event("refused")
        return
    event(f"taken: {len(made)}")
    assert judge(joined, made) == []


def test_a_graph_of_many_ways_keeps_the_rules() -> None:
    """One tensor to several steps, an intermediate as an output, outputs under other names."""
    text, made = read_case(
        """
        steps:
          decode: {model: decode}
          one: {model: classifier}
          other: {model: classifier_2}
          blend: {model: blend, inputs: {a: one.logits, b: other.logits}}
          labels: {model: labels, inputs: {scores: blend.scores}}
        outputs: {label: labels.label, raw: one.logits, size: decode.size}
        """
    )
    joined = join(text, made)
    assert judge(joined, made) == []
    assert joined.unified.max_batch_size == 4


def test_every_step_of_the_cases_is_one_that_triton_could_serve() -> None:
    """So that a refusal is of the pipeline."""
    for step in STEPS.values():
        assert not check_config(member_config(step)), step.name
    assert make_step("a", "x FP32 -1,1", "y FP32 -1,1").signature.inputs[0].shape == (-1, 1)
