"""What clients notice of a change; the kinds that a real Triton shows are in tests/integration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.repository_changes.client_effects import ClientView, list_effects
from serve_deploy.tensors.types import DataType, TensorSpec

IMAGE = TensorSpec("image", DataType.FP32, (-1, 3, 224, 224))
SCORES = TensorSpec("scores", DataType.FP32, (-1, 3))
VIEW = ClientView(
    inputs=(IMAGE,), outputs=(SCORES,), max_batch_size=8, is_decoupled=False, is_sequence=False, versions=(1,),
    pins_versions=False, labels={"scores": ("cat", "dog", "cow")}, sequence_idle_us=1_000_000,
)  # fmt: skip
SEQUENCE = replace(VIEW, is_sequence=True)
DIMS = st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3).map(tuple)


def say(old: ClientView, new: ClientView) -> list[str]:
    return [
        f"{'breaks' if each.breaking else 'notice'}: {each.field} {each.message}" for each in list_effects(old, new)
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (VIEW, VIEW, []),
        (VIEW, replace(VIEW, labels={"scores": ("cat", "cow", "dog")}),
         ["breaks: output scores 2 of 3 classes have another label: index 1 is 'cow', not 'dog'"]),
        (VIEW, replace(VIEW, labels={"scores": ("cat",)}),
         ["breaks: output scores 2 of 3 classes have another label: index 1 is without a label, not 'dog'"]),
        (VIEW, replace(VIEW, labels={}), ["breaks: output scores has no labels any more"]),
        (replace(VIEW, labels={}), VIEW, ["notice: output scores has 3 more labels"]),
        (VIEW, replace(VIEW, is_decoupled=True),
         ["breaks: decoupled it answers a request any number of times: only gRPC streams can ask it"]),
        (replace(VIEW, is_decoupled=True), VIEW,
         ["breaks: decoupled it answers a request exactly once, not as a stream of responses"]),
        (VIEW, SEQUENCE, ["breaks: sequence_batching every request must have a sequence ID"]),
        (SEQUENCE, VIEW, ["breaks: sequence_batching it keeps no state between the requests of a sequence"]),
        (SEQUENCE, replace(SEQUENCE, sequence_idle_us=500_000),
         ["breaks: sequence_batching a sequence ends after 0.5 s without a request, not 1 s"]),
        (SEQUENCE, replace(SEQUENCE, sequence_idle_us=2_000_000), []),
        (replace(VIEW, inputs=(replace(IMAGE, optional=True),)), VIEW,
         ["breaks: input image is not optional any more"]),
        (VIEW, replace(VIEW, inputs=(IMAGE, replace(SCORES, name="mask", optional=True))),
         ["notice: input mask is new, and optional"]),
        (replace(VIEW, max_batch_size=0), VIEW, ["breaks: max_batch_size requests of more than 8 rows are refused"]),
        (VIEW, replace(VIEW, versions=(2,)),
         ["notice: versions version 1 is not served any more: a request that names one gets 404",
          "notice: versions requests without a version get version 2, not 1"]),
        (VIEW, replace(VIEW, max_queue_size=16),
         ["notice: max_queue_size with 16 requests waiting, further ones are refused (503)"]),
        (replace(VIEW, max_queue_size=8), replace(VIEW, max_queue_size=16), []),
        (VIEW, replace(VIEW, is_cached=True), ["notice: response_cache equal requests may be answered from the cache"]),
    ],
)  # fmt: skip
def test_effect(old: ClientView, new: ClientView, said: list[str]) -> None:
    """Each change is said once, in words, what breaks clients first."""
    assert say(old, new) == said


def grown(shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    """Every shape of small arrays that fits; a free size takes one more than the fixed ones that are tried."""
    shapes: set[tuple[int, ...]] = {()}
    for dim in shape:
        shapes = {(*each, size) for each in shapes for size in ((1, 2, 3, 4) if dim == -1 else (dim,))}
    return shapes


@given(DIMS, DIMS)
def test_input_breaks_exactly_where_a_shape_is_taken_no_more(before: Any, after: Any) -> None:
    """An array that the old input takes and the new one does not is what breaks a client."""
    old, new = (replace(VIEW, inputs=(replace(IMAGE, shape=shape),)) for shape in (before, after))
    breaks = any(each.breaking for each in list_effects(old, new))
    assert breaks is not (grown(before) <= grown(after))


@given(DIMS, DIMS)
def test_output_breaks_where_the_input_of_the_same_shapes_would_the_other_way_round(before: Any, after: Any) -> None:
    """A client takes what the old output gives, and so the new one must give no more."""

    def view(shape: Any, role: str) -> ClientView:
        return replace(VIEW, **{role: (replace(IMAGE, shape=shape),)}, labels={})

    forwards = list_effects(view(before, "outputs"), view(after, "outputs"))
    backwards = list_effects(view(after, "inputs"), view(before, "inputs"))
    assert any(each.breaking for each in forwards) is any(each.breaking for each in backwards)
