"""Which outputs are the next values of which inputs, by their names. Pure."""

from __future__ import annotations

import re

# What marks one side of a pair and says nothing of what it holds: h_in and h_out, past and present.
_INPUT_MARKS = {"in", "input", "prev", "previous", "last", "past", "old", "init", "initial"}
_OUTPUT_MARKS = {"out", "output", "next", "new", "present", "cur", "current", "updated", "final", "n"}
_STATE = re.compile(
    r"(h|c|hx|cx|hidden|cell|states?|cache[ds]?|caches|past|present|mem|memory|memories|hist|history|buf|buffers?|"
    r"ctx|context|rnn|lstm|gru|carry|ssm|kv|keys?|values?|recurrent)\d*n?"
)
_SHORT = re.compile(r"(h|c|hx|cx|hidden|cell|states?)")


def match_by_name(name: str, outputs: tuple[str, ...], *, any_word: bool = False) -> tuple[str, ...]:
    """The outputs that are called like the next value of input `name`, such as hn of h0, and stateN of state.

    With `any_word`, also where no word says that it is a state, as in count and count_out.
    """
    for stems in (_stems, _short_stems):
        wanted = stems(name, _INPUT_MARKS)
        matching = tuple(
            output
            for output in outputs
            if stems(output, _OUTPUT_MARKS) & wanted and (any_word or _is_state(name) or _is_state(output))
        )
        if matching:
            return matching
    return ()


def is_called_state(name: str) -> bool:
    """Whether a tensor is called as states are: it may be one whose other side has another name."""
    return any(_STATE.fullmatch(token) for token in _tokens(name))


_is_state = is_called_state


def _tokens(name: str) -> list[str]:
    """The words of a name, in lower case: `stateN` is state and n, `past_key_values.0.key` past, 0 and key."""
    plain = name.replace("past_key_values", "past")
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", ".", plain)
    return [token.lower() for token in re.split(r"[^A-Za-z0-9]+", parted) if token]


def _stems(name: str, marks: set[str]) -> set[str]:
    """The name without what marks its side; nothing where only a number is left."""
    tokens = _tokens(name)
    kept = [token for token in tokens if token not in marks]
    stems = {".".join(kept)} if kept else set()
    return {stem for stem in stems if not stem.replace(".", "").isdigit() or _is_state(name)}


def _short_stems(name: str, marks: set[str]) -> set[str]:
    """The same without the 0 of the first value and the n of the last: h0, h_0 and hn are h."""
    tokens = [token for token in _tokens(name) if token not in marks]
    shortened = list(tokens)
    if tokens and (found := re.fullmatch(r"(.+?)(0|n)", tokens[-1])) and _SHORT.fullmatch(found[1]):
        shortened[-1] = found[1]
    elif len(tokens) > 1 and tokens[-1] == "0":
        shortened.pop()
    return {".".join(each) for each in (tokens, shortened) if each}
