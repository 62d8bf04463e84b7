"""What a served model answers, computed without Triton: other ranks, strings, and steps one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.model_config import parse_config
from serve_deploy.references.served import own_shape, run_as_served, run_ensemble

Arrays = Mapping[str, Any]


def config(batch: int, dims: str, reshape: str = "", kind: str = "FP32") -> Any:
    tensors = " ".join(
        f'{role} {{ name: "{name}" data_type: TYPE_{kind} dims: {dims} {reshape} }}'
        for role, name in (("input", "x"), ("output", "y"))
    )
    return parse_config(f"max_batch_size: {batch} {tensors}")


def echo(arrays: Arrays) -> Arrays:
    return {"y": arrays["x"]}


@pytest.mark.parametrize(
    ("served", "client", "own"),
    [
        (config(4, "[3]"), (2, 3), (2, 3)),
        (config(4, "[1]", "reshape { shape: [] }"), (2, 1), (2,)),
        (config(4, "[2, 3]", "reshape { shape: [6] }"), (5, 2, 3), (5, 6)),
        (config(0, "[2, 3]", "reshape { shape: [6] }"), (2, 3), (6,)),
        (config(4, "[-1, 1, 2, -1]", "reshape { shape: [1, -1, 2, -1] }"), (1, 3, 1, 2, 5), (1, 1, 3, 2, 5)),
    ],
)
def test_a_model_sees_its_own_shape_and_clients_theirs(
    served: Any, client: tuple[int, ...], own: tuple[int, ...]
) -> None:
    """By the reshape of the configuration, in both directions."""
    seen: list[tuple[int, ...]] = []

    def run(arrays: Arrays) -> Arrays:
        seen.append(arrays["x"].shape)
        return echo(arrays)

    array = np.arange(np.prod(client), dtype=np.float32).reshape(client)
    answer = run_as_served(served, run, is_onnx=False)({"x": array})
    assert seen == [own]
    assert np.array_equal(answer["y"], array)
    assert len(own_shape(client, served.input[0], served.max_batch_size)) == len(own)


def test_a_scalar_comes_back_as_one_value() -> None:
    """Triton has no rank 0."""
    answer = run_as_served(config(0, "[1]"), lambda _arrays: {"y": np.float32(3)}, is_onnx=True)({"x": np.ones(1)})
    assert answer["y"].shape == (1,)


def test_strings_are_text_for_onnx_and_end_at_a_nul() -> None:
    """A Python model gets and returns them as they are."""
    given = {"x": np.array([[b"a\0b"]], dtype=object)}
    texts = config(4, "[1]", kind="STRING")
    assert run_as_served(texts, echo, is_onnx=True)(given)["y"][0, 0] == b"a"
    assert run_as_served(texts, echo, is_onnx=False)(given)["y"][0, 0] == b"a\0b"


@given(st.binary())
def test_bytes_that_are_no_text_pass_onnx_unchanged(content: bytes) -> None:
    """As in Triton, up to a NUL."""
    texts = config(4, "[1]", kind="STRING")
    answer = run_as_served(texts, echo, is_onnx=True)({"x": np.array([[content]], dtype=object)})
    assert answer["y"][0, 0] == content.split(b"\0")[0]


def test_steps_run_in_the_order_of_their_tensors() -> None:
    """Whatever the order of the configuration; an optional input that is not there is left out."""
    ensemble = parse_config(
        'platform: "ensemble" input { name: "in" } input { name: "more" optional: true } output { name: "out" } '
        "ensemble_scheduling {"
        ' step { model_name: "add" input_map { key: "a" value: "middle" } input_map { key: "b" value: "more" }'
        ' output_map { key: "y" value: "out" } }'
        ' step { model_name: "twice" input_map { key: "x" value: "in" } output_map { key: "y" value: "middle" } } }'
    )
    members = {
        "add": lambda arrays: {"y": sum(arrays.values())},
        "twice": lambda arrays: {"y": 2 * arrays["x"]},
    }
    run = run_ensemble(ensemble, members)
    assert run({"in": np.ones(2)})["out"].tolist() == [2, 2]
    assert run({"in": np.ones(2), "more": np.ones(2)})["out"].tolist() == [3, 3]
