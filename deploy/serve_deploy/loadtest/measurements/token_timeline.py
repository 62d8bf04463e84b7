"""When tokens came: slices of a period, which become wider whenever there would be too many. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve_deploy.reports.generation import TokenBucket

_MOST_SLICES = 240
Floats = NDArray[np.float64]


class TokenTimeline:
    """Tokens, first tokens and the longest gap of each slice; pieces whose tokens nobody has counted apart."""

    def __init__(self, start: float, width_seconds: float = 0.1) -> None:
        self._start = start
        self._width = width_seconds
        self._tokens, self._uncounted, self._firsts, self._longest = (np.zeros(_MOST_SLICES) for _ in range(4))
        self._used = 0

    def add(self, times: Floats, tokens: Floats, firsts: Floats) -> None:
        """Note pieces by when they came, each with its tokens (NaN: not counted), and when first pieces came."""
        if not times.size:
            return
        indexes = self._indexes(times)
        self._tokens += np.bincount(indexes, np.nan_to_num(tokens), _MOST_SLICES)
        self._uncounted += np.bincount(indexes, np.isnan(tokens), _MOST_SLICES)
        self._firsts += np.bincount(self._indexes(firsts), minlength=_MOST_SLICES)

    def add_gaps(self, ends: Floats, gaps: Floats) -> None:
        """Note gaps by their end."""
        if ends.size:
            np.maximum.at(self._longest, self._indexes(ends), gaps)

    def _indexes(self, times: Floats) -> NDArray[np.int64]:
        while (float(times.max()) - self._start) / self._width >= _MOST_SLICES:
            self._coarsen()
        indexes = np.clip((times - self._start) // self._width, 0, _MOST_SLICES - 1).astype(np.int64)
        self._used = max(self._used, int(indexes.max()) + 1)
        return indexes

    def _coarsen(self) -> None:
        self._width *= 2
        self._used = (self._used + 1) // 2
        for slices in (self._tokens, self._uncounted, self._firsts):
            slices[:] = np.concatenate([slices.reshape(-1, 2).sum(axis=1), np.zeros(_MOST_SLICES // 2)])
        self._longest = np.concatenate([self._longest.reshape(-1, 2).max(axis=1), np.zeros(_MOST_SLICES // 2)])

    def buckets(self, tokens_per_piece: float) -> tuple[TokenBucket, ...]:
        """Every slice up to the last that saw something; what was not counted has this many tokens a piece."""
        tokens = self._tokens + self._uncounted * tokens_per_piece
        return tuple(
            TokenBucket(
                start_seconds=round(index * self._width, 6),
                duration_seconds=self._width,
                output_tokens=float(tokens[index]),
                first_tokens=int(self._firsts[index]),
                gap_max_us=float(self._longest[index]) * 1e6,
            )
            for index in range(self._used)
        )
