"""Drops repeated rows exactly: one bit per (origin partition, kind, offset of the send).

A send is one record of its origin partition, so its offset is its identity and dense. For each
origin and kind a ring of bits remembers the `REMEMBERED` offsets up to the newest seen. A row that
is further behind cannot be told from a repeat and is dropped too; `forgotten` counts these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["REMEMBERED", "RepeatFilter"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Bool = NDArray[np.bool_]

REMEMBERED: Final = 1 << 22
"""Offsets, 4 million: 512 KiB for each origin and kind."""
_WORDS: Final = REMEMBERED // 64
_NEWEST, _REPEATS, _FORGOTTEN = range(3)
"""Places in a ring's `state`."""


@njit(cache=True)
def _first_time(offsets: Any, bits: Any, state: Any) -> Any:
    """Mark offsets in order; return which had not been seen. bits: (words,) uint64 ring."""
    fresh = np.empty(len(offsets), np.bool_)
    words = len(bits)
    for i in range(len(offsets)):
        offset = offsets[i]
        if offset > state[0]:
            # Words that come into use again forget the offsets they stood for.
            first = max(state[0] // 64 + 1, offset // 64 - words + 1)
            for word in range(first, offset // 64 + 1):
                bits[word % words] = np.uint64(0)
            state[0] = offset
        if offset // 64 <= state[0] // 64 - words:
            fresh[i] = False
            state[2] += 1
            continue
        bit = np.uint64(1) << np.uint64(offset % 64)
        word = (offset // 64) % words
        fresh[i] = bits[word] & bit == np.uint64(0)
        bits[word] |= bit
        if not fresh[i]:
            state[1] += 1
    return fresh


class RepeatFilter:
    """What rows a partition has taken."""

    def __init__(self) -> None:
        self._rings: dict[str, tuple[U64, I64]] = {}

    @property
    def repeats(self) -> int:
        """Rows dropped because they had been taken before."""
        return sum(int(state[_REPEATS]) for _, state in self._rings.values())

    @property
    def forgotten(self) -> int:
        """Rows dropped because they were too far behind to know."""
        return sum(int(state[_FORGOTTEN]) for _, state in self._rings.values())

    def first_time(self, origin: int, kind: str, offsets: I64) -> Bool:
        """Return which of the rows are new; they are remembered from now on.

        Raises:
            ValueError: an offset below 0.
        """
        if len(offsets) and int(offsets.min()) < 0:
            msg = f"example rows of origin {origin} have send offset {int(offsets.min())} below 0"
            raise ValueError(msg)
        ring = self._rings.get(f"{origin}.{kind}")
        if ring is None:
            ring = np.zeros(_WORDS, np.uint64), np.array([-1, 0, 0], np.int64)
            self._rings[f"{origin}.{kind}"] = ring
        fresh: Bool = _first_time(offsets, *ring)
        return fresh

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """For each ring its newest offset, its words that are not 0, its tally of dropped rows."""
        columns: dict[str, NDArray[Any]] = {}
        for name in sorted(self._rings):
            bits, state = self._rings[name]
            used = np.flatnonzero(bits)
            columns[f"{name}.newest"] = state[:_REPEATS].copy()
            columns[f"{name}.tally"] = state[_REPEATS:].copy()
            columns[f"{name}.words"] = used
            columns[f"{name}.bits"] = bits[used]
        return columns

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        self._rings.clear()
        for column, newest in columns.items():
            name, _, what = column.rpartition(".")
            if what == "newest":
                bits = np.zeros(_WORDS, np.uint64)
                bits[columns[f"{name}.words"]] = columns[f"{name}.bits"]
                self._rings[name] = bits, np.append(newest, columns[f"{name}.tally"])
