"""Drops repeated rows exactly: one bit per (origin partition, kind, offset of the send).

A send is one record of its origin partition, so its offset is its identity and dense. For each
origin and kind a ring of bits remembers the `REMEMBERED` offsets up to the newest seen. A row that
is further behind cannot be told from a repeat and is dropped too; `forgotten` counts these.
"""

from __future__ import annotations

from collections.abc import Mapping
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
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
def _first_time(origins: Any, offsets: Any, bits: Any, states: Any) -> Any:
    """Mark offsets in order; return which had not been seen. bits: (origins, words) rings."""
    fresh = np.empty(len(offsets), np.bool_)
    words = bits.shape[1]
    for i in range(len(offsets)):
        offset, ring, state = offsets[i], bits[origins[i]], states[origins[i]]
        if offset > state[0]:
            # Words that come into use again forget the offsets they stood for.
            first = max(state[0] // 64 + 1, offset // 64 - words + 1)
            for word in range(first, offset // 64 + 1):
                ring[word % words] = np.uint64(0)
            state[0] = offset
        if offset // 64 <= state[0] // 64 - words:
            fresh[i] = False
            state[2] += 1
            continue
        bit = np.uint64(1) << np.uint64(offset % 64)
        word = (offset // 64) % words
        fresh[i] = ring[word] & bit == np.uint64(0)
        ring[word] |= bit
        if not fresh[i]:
            state[1] += 1
    return fresh


def _zeros(origins: int) -> U64:
    """(origins, words), resident as they are used: in ordinary pages, not in numpy's huge ones."""
    memory = mmap(-1, origins * _WORDS * 8, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    return np.frombuffer(memory, np.uint64).reshape(origins, _WORDS)


class _Rings:
    """Of one kind: bits (origins, words), and (newest, repeats, forgotten) of each origin."""

    def __init__(self) -> None:
        self.bits: U64 = np.zeros((0, _WORDS), np.uint64)
        self.states: I64 = np.zeros((0, 3), np.int64)

    def grow(self, origins: int) -> None:
        """Have room for so many; of the old ones only what was written to is copied."""
        held = len(self.states)
        if origins <= held:
            return
        bits = _zeros(max(origins, 2 * held))
        for before, ring in zip(self.bits, bits[:held], strict=True):
            used = np.flatnonzero(before)
            ring[used] = before[used]
        states = np.tile(np.array([-1, 0, 0], np.int64), (len(bits), 1))
        states[:held] = self.states
        self.bits, self.states = bits, states

    def in_use(self) -> list[int]:
        """Origins that rows came from."""
        found: list[int] = np.flatnonzero(self.states[:, _NEWEST] >= 0).tolist()
        return found


class RepeatFilter:
    """What rows a partition has taken."""

    def __init__(self) -> None:
        self._rings: dict[str, _Rings] = {}

    @property
    def repeats(self) -> int:
        """Rows dropped because they had been taken before."""
        return sum(int(rings.states[:, _REPEATS].sum()) for rings in self._rings.values())

    @property
    def forgotten(self) -> int:
        """Rows dropped because they were too far behind to know."""
        return sum(int(rings.states[:, _FORGOTTEN].sum()) for rings in self._rings.values())

    def first_time(self, origins: NDArray[Any], kind: str, offsets: I64) -> Bool:
        """Return which of the (n,) rows are new; they are remembered from now on.

        Raises:
            ValueError: an offset below 0.
        """
        if not len(offsets):
            return np.zeros(0, np.bool_)
        if int(offsets.min()) < 0:
            origin = int(origins[offsets.argmin()])
            msg = f"example rows of origin {origin} have send offset {int(offsets.min())} below 0"
            raise ValueError(msg)
        rings = self._rings.setdefault(kind, _Rings())
        rings.grow(int(origins.max()) + 1)
        fresh: Bool = _first_time(origins, offsets, rings.bits, rings.states)
        return fresh

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """For each ring its newest offset, its words that are not 0, its tally of dropped rows."""
        columns: dict[str, NDArray[Any]] = {}
        for kind, rings in sorted(self._rings.items()):
            for origin in rings.in_use():
                name, bits, state = f"{origin}.{kind}", rings.bits[origin], rings.states[origin]
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
                origin, _, kind = name.partition(".")
                rings = self._rings.setdefault(kind, _Rings())
                rings.grow(int(origin) + 1)
                rings.bits[int(origin), columns[f"{name}.words"]] = columns[f"{name}.bits"]
                rings.states[int(origin)] = np.append(newest, columns[f"{name}.tally"])
