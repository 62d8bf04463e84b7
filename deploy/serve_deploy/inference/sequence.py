"""What a request says of the sequence that it belongs to. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    from serve_deploy.endpoint.model import Model
    from serve_deploy.inference.options import InferenceOptions

_LARGEST_NUMBER = 2**63 - 1


def sequence_parameters(options: InferenceOptions, model: Model) -> dict[str, int | str | bool]:
    """Triton's parameters, the same over HTTP and gRPC; none without a sequence. UsageError where they do not fit."""
    if not options.sequence_id:
        if options.sequence_start or options.sequence_end:
            raise UsageError("`sequence_start` and `sequence_end` need a `sequence_id`")
        if model.is_sequence:
            raise UsageError(
                f"{model.name} keeps a state for each sequence, and needs its `sequence_id`",
                hint="add `sequence_start` to a sequence's first request, and `sequence_end` to its last",
            )
        return {}
    # An ensemble does not say whether its members keep sequences.
    if not model.is_sequence and not model.members:
        raise UsageError(f"`sequence_id`: {model.name} keeps no sequences")
    return {
        "sequence_id": _read_id(options.sequence_id),
        "sequence_start": options.sequence_start,
        "sequence_end": options.sequence_end,
    }


def _read_id(text: str) -> int | str:
    if not re.fullmatch(r"0|[1-9][0-9]*", text):
        return text
    number = int(text)
    if not 0 < number <= _LARGEST_NUMBER:
        raise UsageError(f"`sequence_id={text}`: a number is from 1 to {_LARGEST_NUMBER:,}")
    return number
