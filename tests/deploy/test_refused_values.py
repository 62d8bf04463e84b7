"""What a validator's complaints say to a person."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from serve_deploy.refused_values import find_path, say_plainly


class Step(BaseModel, extra="forbid"):
    """A share in percent, or a count."""

    count: int | str = Field(default=1)
    at_once: int = Field(default=1, ge=1)


class Plan(BaseModel, extra="forbid"):
    """Values as a chart nests them."""

    step: Step = Step()
    many: tuple[Step, ...] = ()
    needed: float


REFUSALS = {
    "below the least": ({"needed": 1, "step": {"at_once": 0}}, "step.at_once: must be at least 1"),
    "not a whole number": ({"needed": 1, "step": {"at_once": "x"}}, "step.at_once: must be a whole number"),
    "unknown": ({"needed": 1, "step": {"other": 1}}, "step.other: there is no such value"),
    "missing": ({}, "needed: is missing"),
    "no number": ({"needed": "x"}, "needed: must be a number"),
    "in a list": ({"needed": 1, "many": [{}, {"at_once": 0}]}, "many.1.at_once: must be at least 1"),
    "branch of a union": ({"needed": 1, "step": {"count": []}}, "step.count: must be a whole number"),
}


@pytest.mark.parametrize(("values", "words"), REFUSALS.values(), ids=list(REFUSALS))
def test_a_refusal_reads_as_words(values: dict[str, object], words: str) -> None:
    """The value's path as the user wrote it, and what it must be."""
    with pytest.raises(ValidationError) as refused:
        Plan.model_validate(values)
    first = refused.value.errors()[0]
    assert f"{find_path(values, first)}: {say_plainly(first['msg'])}" == words
