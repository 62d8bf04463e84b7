"""Lengths in tokens as a user gives them: one, or a mean and a deviation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serve_deploy.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

LONGEST = 10_000_000
_LENGTHS = re.compile(r"(\d{1,9})(?:\s*(?:±|\+-|\+/-|,)\s*(\d{1,9}))?")


@dataclass(frozen=True)
class TokenLengths:
    """Normally distributed around `mean`, and at least 1; all the same where `deviation` is 0."""

    mean: int
    deviation: int = 0

    def __str__(self) -> str:
        return f"{self.mean:,} ± {self.deviation:,}" if self.deviation else f"{self.mean:,}"

    def draw(self, generator: np.random.Generator, least: int = 1) -> int:
        """One length, no shorter than `least`."""
        if not self.deviation:
            return max(self.mean, least)
        return max(round(generator.normal(self.mean, self.deviation)), least)


def read_lengths(field: str, text: str) -> TokenLengths:
    """Read `512`, `512±64`, `512+-64` or `512,64`; UsageError names the field for anything else."""
    match = _LENGTHS.fullmatch(text.strip())
    lengths = TokenLengths(int(match[1]), int(match[2] or 0)) if match else TokenLengths(0)
    if not 1 <= lengths.mean <= LONGEST or lengths.deviation > LONGEST:
        raise UsageError(
            f"`{field}={text}` is not a number of tokens", hint="write it as 512, or with a deviation as 512±64"
        )
    return lengths
