"""What a load test of a language model is asked to send."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from serve_deploy.option import Option
from serve_deploy.prompts.lengths import TokenLengths, read_lengths

_PROMPTS = "Prompts"


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """Prompts of a file, or a trace, or else synthetic ones of `input_tokens`, by default 512.

    Where there is no `tokenizer`, a word stands for a token, and lengths are approximate.
    """

    prompts: Annotated[
        Path | None,
        Option(
            "Send the prompts of this file: OpenAI messages, ShareGPT, JSON lines or plain lines.",
            metavar="FILE",
            group=_PROMPTS,
        ),
    ] = None
    trace: Annotated[
        Path | None,
        Option(
            "Replay this trace of arrival times and lengths (Mooncake JSON lines, Azure CSV).",
            metavar="FILE",
            group=_PROMPTS,
        ),
    ] = None
    trace_speed: Annotated[
        float, Option("Replay the trace this many times as fast.", minimum=0.001, group=_PROMPTS)
    ] = 1.0
    tokenizer: Annotated[
        Path | None,
        Option("The model's tokenizer.json, or its folder; makes lengths exact.", metavar="PATH", group=_PROMPTS),
    ] = None
    input_tokens: Annotated[
        TokenLengths | None,
        Option(
            "Tokens in synthetic prompts, by default 512: 256, or with a deviation 256±32 or 256,32.",
            metavar="N[±D]",
            group=_PROMPTS,
            read=partial(read_lengths, "input_tokens"),
        ),
    ] = None
    output_tokens: Annotated[
        TokenLengths | None,
        Option(
            "Tokens to ask for in each answer: 128, or 128±16; by default what a file says.",
            metavar="N[±D]",
            group=_PROMPTS,
            read=partial(read_lengths, "output_tokens"),
        ),
    ] = None
    prefix_tokens: Annotated[
        int, Option("Tokens at the start that all synthetic prompts share.", minimum=0, group=_PROMPTS)
    ] = 0
    turns: Annotated[
        int | None,
        Option("Turns in a synthetic conversation; of a file's, the most to send.", minimum=1, group=_PROMPTS),
    ] = None
    think_time_seconds: Annotated[
        float, Option("Wait this long after an answer before the next turn.", minimum=0, group=_PROMPTS)
    ] = 0.0
