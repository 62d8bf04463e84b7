"""What a user may decide about a model whose state Triton keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from serve_deploy.errors import UsageError
from serve_deploy.model_config.sequence_batching import CONTROL_KINDS, SequenceStrategy
from serve_deploy.option import Option

_STATE = "State"
Named = tuple[str, str]


def _read_named(field: str, form: str, example: str, text: str) -> Named:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"`{field}={text}` is not {form}", hint=f"for example {example}")
    return name, value


def _read_control(text: str) -> Named:
    kind, equals, name = text.partition("=")
    if kind.upper() not in CONTROL_KINDS or not equals or not name:
        raise UsageError(
            f"`control={text}` is not KIND=INPUT, with one of {', '.join(CONTROL_KINDS)}",
            hint="for example START=reset",
        )
    return kind.upper(), name


@dataclass(frozen=True, kw_only=True)
class StatefulOptions:
    """Which tensors are state, and how its sequences are served; names of the model's own tensors throughout."""

    stateful: Annotated[
        bool, Option("Keep the model's state in Triton, between the requests of a sequence.", group=_STATE)
    ] = False
    state: Annotated[
        tuple[Named, ...],
        Option(
            "An input and the output that is its next value; IN= where clients send it. Repeatable.",
            metavar="IN=OUT",
            group=_STATE,
            read=partial(_read_named, "state", "IN=OUT", "h=hn"),
        ),
    ] = ()
    constant: Annotated[
        tuple[Named, ...],
        Option(
            "Fix an input to a value in the copy that `fix` writes, such as sr=16000. Repeatable.",
            metavar="IN=VALUE",
            group=_STATE,
            read=partial(_read_named, "constant", "IN=VALUE", "sr=16000"),
        ),
    ] = ()
    control: Annotated[
        tuple[Named, ...],
        Option(
            "An input that Triton fills: START, END, READY or CORRID. Repeatable.",
            metavar="KIND=IN",
            group=_STATE,
            read=_read_control,
        ),
    ] = ()
    initial_state: Annotated[
        tuple[Named, ...],
        Option(
            "What a state is before the first request: an .npy file; by default zeros. Repeatable.",
            metavar="IN=FILE",
            group=_STATE,
            read=partial(_read_named, "initial_state", "IN=FILE", "h=start.npy"),
        ),
    ] = ()
    sequence_strategy: Annotated[
        SequenceStrategy | None,
        Option("oldest (default) batches what waits, direct gives each sequence a place.", group=_STATE),
    ] = None
    max_candidate_sequences: Annotated[
        int | None, Option("Most sequences at once on each instance; by default 256.", minimum=1, group=_STATE)
    ] = None
    max_sequence_idle_us: Annotated[
        int | None,
        Option("Forget a sequence after this long without a request; by default 10 s.", minimum=1, group=_STATE),
    ] = None

    def __post_init__(self) -> None:
        """UsageError where an option has no use without `stateful`."""
        if self.stateful:
            return
        for name, value in vars(self).items():
            if value:
                raise UsageError(f"`{name}` needs `stateful`", hint=f"add `stateful`, or leave `{name}` out")

    @property
    def initial_files(self) -> dict[str, Path]:
        """The file of each state that does not start from zeros."""
        return {name: Path(file) for name, file in self.initial_state}
