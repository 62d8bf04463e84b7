"""From what is asked for to the prompts that are sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from serve_deploy.errors import UsageError
from serve_deploy.prompts.files import read_file
from serve_deploy.prompts.lengths import TokenLengths
from serve_deploy.prompts.options import PromptOptions
from serve_deploy.prompts.prompt import Conversation, PromptSet
from serve_deploy.prompts.synthetic import SyntheticConversations, TraceConversations
from serve_deploy.prompts.tokenizer import Tokenizer, read_tokenizer
from serve_deploy.prompts.traces import read_trace
from serve_deploy.prompts.words import Words, common_words, find_words
from serve_deploy.reports.figures import format_count, format_number
from serve_deploy.reports.point import RequestData

Origin = Literal["prompts", "synthetic", "trace"]
_DEFAULT_INPUT = TokenLengths(512)
_SYNTHETIC_ONLY = ("input_tokens", "prefix_tokens")
_NOT_OF_A_TRACE = (*_SYNTHETIC_ONLY, "prompts", "output_tokens", "turns", "think_time_seconds")


def read_prompts(
    options: PromptOptions, *, seed: int = 0, duration_seconds: float | None = None, requests: int | None = None
) -> PromptSet:
    """The prompts to send; of a trace those of its first `requests`, and of the first `duration_seconds` of the test.

    The same seed makes the same texts, and chooses the same prompts of a large file. What is known to need more than
    the model's context, with its answers, is left out of a file or trace, and `origin` says so. UsageError names
    options that exclude each other, and the file, line and field that is wrong.
    """
    tokenizer = read_tokenizer(options.tokenizer) if options.tokenizer else None
    reading = _Reading(options, tokenizer, seed)
    if options.trace:
        _refuse(options, "trace", _NOT_OF_A_TRACE)
        return reading.replay(options.trace, duration_seconds, requests)
    if options.trace_speed != 1:
        raise UsageError("`trace_speed` needs a `trace`")
    if options.prompts:
        _refuse(options, "prompts", _SYNTHETIC_ONLY)
        return reading.send_file(options.prompts)
    return reading.make_up()


def _refuse(options: PromptOptions, name: str, others: tuple[str, ...]) -> None:
    for other in others:
        if getattr(options, other) not in (None, 0):
            raise UsageError(f"`{name}` and `{other}` exclude each other", hint=f"leave out `{other}`")


@dataclass(frozen=True)
class _Reading:
    options: PromptOptions
    tokenizer: Tokenizer | None
    seed: int

    @property
    def context_tokens(self) -> int | None:
        return self.tokenizer.context_tokens if self.tokenizer else None

    def send_file(self, path: Path) -> PromptSet:
        options = self.options
        read = read_file(
            path,
            tokenizer=self.tokenizer,
            output_tokens=options.output_tokens,
            most_turns=options.turns,
            think_seconds=options.think_time_seconds,
            seed=self.seed,
        )
        fitting = tuple(each for each in read.conversations if self._fits(_count_known(each)))
        self._require(bool(fitting), f"`prompts={path}`")
        talks = any(len(each.turns) > 1 for each in fitting)
        self._check_think_time(talks)
        noun = "conversation" if talks else "prompt"
        words = _say_count(len(fitting), noun)
        if read.kept < read.total:
            words += f", chosen at random from {format_count(read.total)} (seed {self.seed})"
        if read.unasked:
            words += f"; {format_count(read.unasked)} without a question left out"
        words += _say_left_out(len(read.conversations) - len(fitting))
        return PromptSet(fitting, self._origin("prompts", len(fitting), words, path))

    def replay(self, path: Path, duration_seconds: float | None, requests: int | None) -> PromptSet:
        speed = self.options.trace_speed
        trace = read_trace(path, speed=speed, duration_seconds=duration_seconds, requests=requests)
        lengths = zip(trace.input_tokens, trace.output_tokens, strict=True)
        fitting = [place for place, both in enumerate(lengths) if self._fits(sum(both))]
        self._require(bool(fitting), f"`trace={path}`")
        conversations = TraceConversations(
            self._words,
            tuple(trace.input_tokens[place] for place in fitting),
            tuple(trace.output_tokens[place] for place in fitting),
            tuple(trace.blocks[place] for place in fitting) if any(trace.blocks) else (),
            self.seed,
        )
        lasted = f"{format_number(trace.arrivals[-1])} s"
        words = f"{_say_count(len(fitting), 'request')} over {lasted}, as synthetic text"
        words += f", {speed:g} times as fast" if speed != 1 else ""
        words += self._say_approximate() + _say_left_out(len(trace.arrivals) - len(fitting))
        arrivals = tuple(trace.arrivals[place] for place in fitting)
        return PromptSet(conversations, self._origin("trace", len(fitting), words, path), arrivals)

    def make_up(self) -> PromptSet:
        options = self.options
        lengths, turns, prefix = options.input_tokens or _DEFAULT_INPUT, options.turns or 1, options.prefix_tokens
        self._check_think_time(turns > 1)
        answer = options.output_tokens.mean if options.output_tokens else 0
        self._require(self._fits(prefix + turns * (lengths.mean + answer)), f"`input_tokens={lengths}`")
        conversations = SyntheticConversations(
            self._words, lengths, options.output_tokens, prefix, turns, options.think_time_seconds, self.seed
        )
        words = "synthetic prompts" if turns == 1 else f"synthetic conversations of {turns} turns, each"
        words += f" of {lengths} tokens"
        words += f" after a prefix of {prefix:,} that all share" if prefix else ""
        words += f" (seed {self.seed}){self._say_approximate()}"
        return PromptSet(conversations, self._origin("synthetic", len(conversations), words, None))

    @cached_property
    def _words(self) -> Words:
        return find_words(self.tokenizer) if self.tokenizer else common_words()

    def _say_approximate(self) -> str:
        return "" if self._words.exact else "; a word stands for a token, for no tokenizer was given"

    def _check_think_time(self, talks: bool) -> None:
        if self.options.think_time_seconds and not talks:
            raise UsageError("`think_time_seconds` needs conversations of several turns", hint="ask for `turns`")

    def _fits(self, tokens: int) -> bool:
        return self.context_tokens is None or tokens <= self.context_tokens

    def _require(self, fits: bool, what: str) -> None:
        if not fits:
            raise UsageError(
                f"{what} needs more than the {self.context_tokens:,} tokens of the model's context",
                hint="ask for shorter prompts and answers",
            )

    def _origin(self, origin: Origin, count: int, words: str, path: Path | None) -> RequestData:
        return RequestData(
            origin=origin, samples=count, path=str(path) if path else None, seed=self.seed, description=words
        )


def _count_known(conversation: Conversation) -> int:
    return sum((turn.input_tokens or 0) + (turn.output_tokens or 0) for turn in conversation.turns)


def _say_left_out(count: int) -> str:
    return f"; {format_count(count)} longer than the model's context left out" if count else ""


def _say_count(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}{'' if count == 1 else 's'}"
