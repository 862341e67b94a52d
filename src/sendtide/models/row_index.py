"""Rows of a bank's tables by a pair of hashes, looked up for whole columns."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix

__all__ = ["RowIndex", "distinct"]

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_SMALLEST: Final = 64


class RowIndex:
    """Rows count from 1 in the order in which their keys come; row 0 is of keys not known.

    An open-addressing table with both words of each key: names that share one are told apart.
    """

    def __init__(self) -> None:
        self._keys: U64 = np.zeros((_SMALLEST, 2), np.uint64)
        self._rows: I64 = np.zeros(_SMALLEST, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, first: int, second: int = 0) -> int:
        """The row of a key, the next one if it has none."""
        slot = _slot(self._keys, self._rows, np.uint64(first), np.uint64(second))
        if not self._rows[slot]:
            self._count += 1
            self._keys[slot], self._rows[slot] = (first, second), self._count
            if 2 * self._count >= len(self._rows):
                self._grow()
            return self._count
        return int(self._rows[slot])

    def find(self, first: U64, second: U64 | None = None) -> I64:
        """Rows of n keys, int64[n]; second: 0 of all, as in `add`."""
        if second is None:
            second = np.zeros_like(first)
        return np.asarray(_find(self._keys, self._rows, first, second))

    def _grow(self) -> None:
        known = self._rows != 0
        keys, rows = self._keys[known], self._rows[known]
        self._keys = np.zeros((2 * len(self._keys), 2), np.uint64)
        self._rows = np.zeros(len(self._keys), np.int64)
        for key, row in zip(keys, rows, strict=True):
            slot = _slot(self._keys, self._rows, *key)
            self._keys[slot], self._rows[slot] = key, row


@njit(cache=True)
def _slot(keys: Any, rows: Any, first: Any, second: Any) -> Any:
    """Slot of a key, or of the free place where it would go."""
    mask = np.int64(len(rows) - 1)
    slot = np.int64(mix(first ^ mix(second))) & mask
    while rows[slot] != 0 and (keys[slot, 0] != first or keys[slot, 1] != second):
        slot = (slot + 1) & mask
    return slot


@njit(cache=True)
def _find(keys: Any, rows: Any, first: Any, second: Any) -> Any:
    found = np.empty(len(first), np.int64)
    for i in range(len(first)):
        found[i] = rows[_slot(keys, rows, first[i], second[i])]
    return found


@njit(cache=True)
def distinct(rows: Any, most: int) -> Any:
    """The m different ones of n rows, all below `most`, and (n,) which of them is each."""
    place = np.full(most, -1, np.int64)
    which, used, count = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64), 0
    for i in range(len(rows)):
        row = rows[i]
        if place[row] < 0:
            place[row], used[count] = count, row
            count += 1
        which[i] = place[row]
    return used[:count], which
