"""Wrong pipelines: each is refused before anything is written, with both ends and what to do."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest
from pipeline_steps import read_case
from wrong_pipelines import WRONG

from serve_deploy.errors import InvalidModelError
from serve_deploy.pipelines.plan import join


def say(name: str) -> str:
    with pytest.raises(InvalidModelError) as refused:
        join(*read_case(WRONG[name]))
    said = refused.value.message + (f"\n  hint: {refused.value.hint}" if refused.value.hint else "")
    return f"# {name}\n{dedent(WRONG[name]).strip()}\n{said}\n"


def test_every_wrong_pipeline_is_refused_in_these_words(golden: Callable[[str, str], None]) -> None:
    """The texts are the golden file."""
    golden("pipelines/refusals.txt", "\n".join(map(say, WRONG)))


@pytest.mark.parametrize("name", WRONG)
def test_a_refusal_names_two_ends(name: str) -> None:
    """Of a wire, of a circle, or a key of the file and the step that it does not fit."""
    said = say(name).split("\npipeline.yaml", 1)[1]
    assert said.count("'") >= 2
    assert "hint: " in said or "fix: " in said
