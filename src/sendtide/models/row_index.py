"""Rows of a bank's tables by a 64-bit key, looked up for whole columns."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import find_slot

__all__ = ["RowIndex", "distinct"]

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_SMALLEST: Final = 64


class RowIndex:
    """Keys are hashes other than 0; their rows count from 1, row 0 is of keys not known."""

    def __init__(self) -> None:
        self._keys: U64 = np.zeros(_SMALLEST, np.uint64)
        self._rows: I64 = np.zeros(_SMALLEST, np.int64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: int) -> int:
        """The row of a key, the next one if it has none."""
        slot = find_slot(self._keys, np.uint64(key))
        if not self._rows[slot]:
            self._count += 1
            self._keys[slot], self._rows[slot] = key, self._count
            if 2 * self._count >= len(self._keys):
                self._grow()
                slot = find_slot(self._keys, np.uint64(key))
        return int(self._rows[slot])

    def find(self, keys: U64) -> I64:
        """Rows of n keys, int64[n]."""
        return np.asarray(_find(self._keys, self._rows, keys))

    def _grow(self) -> None:
        known = self._keys != 0
        keys, rows = self._keys[known], self._rows[known]
        self._keys = np.zeros(2 * len(self._keys), np.uint64)
        self._rows = np.zeros(len(self._keys), np.int64)
        for key, row in zip(keys, rows, strict=True):
            slot = find_slot(self._keys, key)
            self._keys[slot], self._rows[slot] = key, row


@njit(cache=True)
def _find(keys: Any, rows: Any, wanted: Any) -> Any:
    found = np.empty(len(wanted), np.int64)
    for i in range(len(wanted)):
        found[i] = rows[find_slot(keys, wanted[i])]
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
