"""Which of several models each request of a mixed load is for. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# Weights that no shorter round has exactly are rounded to parts of this one.
_LONGEST_ROUND = 100
_EXACT = 1e-6


def interleave(weights: Sequence[float]) -> tuple[int, ...]:
    """One round of positions in `weights`, each as often as its weight says and as evenly spread as can be.

    3 and 1 are 0, 0, 1, 0. A weight whose share is too small for a round still has one turn. ValueError where a weight
    is not above 0.
    """
    if not weights or min(weights) <= 0:
        raise ValueError("weights are above 0")
    shares = [weight / sum(weights) for weight in weights]
    turns = [max(1, round(share * _LONGEST_ROUND)) for share in shares]
    for length in range(len(shares), _LONGEST_ROUND):
        exact = [share * length for share in shares]
        if all(round(each) and abs(each - round(each)) < _EXACT for each in exact):
            turns = [round(each) for each in exact]
            break
    waiting, order = [0] * len(turns), list[int]()
    for _ in range(sum(turns)):
        waiting = [left + turn for left, turn in zip(waiting, turns, strict=True)]
        first = max(range(len(turns)), key=lambda index: waiting[index])
        waiting[first] -= sum(turns)
        order.append(first)
    return tuple(order)
