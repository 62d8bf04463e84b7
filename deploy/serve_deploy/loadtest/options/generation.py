"""What a load test of a language model is asked to do beside its loads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from serve_deploy.errors import UsageError
from serve_deploy.option import Made, Option
from serve_deploy.prompts.options import PromptOptions

_GENERATION = "Generation"


def _read_parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise UsageError(f"`parameters={text}` is not a parameter", hint="write it as NAME=VALUE: temperature=0.7")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Streams of tokens are measured where `generate` says by which protocol they are asked for.

    `auto` is gRPC for a gRPC endpoint; over HTTP it is Triton's `generate_stream` where the server is Triton, else
    OpenAI's chat. `parameters` are sampling parameters, as names and JSON values.
    """

    generate: Annotated[
        Literal["auto", "triton", "chat", "completions"] | None,
        Option("Measure token streams of a language model, asked for by this protocol.", group=_GENERATION),
    ] = None
    max_tokens: Annotated[
        int | None, Option("Most tokens in an answer, where its prompt does not say.", minimum=1, group=_GENERATION)
    ] = None
    ignore_eos: Annotated[
        bool,
        Option("Generate all the tokens asked for; vLLM, NIM and Triton's OpenAI frontend can.", group=_GENERATION),
    ] = False
    parameters: Annotated[
        tuple[tuple[str, Any], ...],
        Option(
            "Send this sampling parameter; repeatable.",
            metavar="NAME=VALUE",
            group=_GENERATION,
            read=_read_parameter,
        ),
    ] = ()
    text_input: Annotated[
        str, Option("Triton: the input that takes the prompt.", metavar="NAME", group=_GENERATION)
    ] = "text_input"
    text_output: Annotated[
        str, Option("Triton: the output that streams the text.", metavar="NAME", group=_GENERATION)
    ] = "text_output"
    objectives: Annotated[
        tuple[str, ...],
        Option(
            "What each request must meet to be good: 'ttft<500ms', 'itl_p99<50ms', 'tpot<30ms', 'e2e<10s'; repeatable.",
            metavar="OBJECTIVE",
            group=_GENERATION,
        ),
    ] = ()
    prompts: Annotated[PromptOptions, Made(PromptOptions)] = field(default_factory=PromptOptions)
