"""Short codes of what many recipients share: their client, their zone and segment.

A code is the row of a table that only grows, four bytes in place of eight for each hash. Codes
follow the order of arrival and mean nothing outside of one partition's state.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix
from sendtide.recipients.tables import NONE, grown
from sendtide.state.index import find, fitting, insert, new_table, unknown

__all__ = ["Codes"]

U64 = NDArray[np.uint64]
I32 = NDArray[np.int32]
_SMALLEST: Final = 64


class Codes:
    """Codes of rows of `width` hashes; code 0 is the row of zeros, which says nothing."""

    def __init__(self, width: int) -> None:
        self._index = new_table(0)
        self._rows = np.zeros((_SMALLEST, width), np.uint64)
        self._count = np.zeros(1, np.int64)
        self.added(np.zeros((1, width), np.uint64))

    @property
    def rows(self) -> U64:
        """(codes, width) what every code stands for."""
        return self._rows[: int(self._count[0])]

    def added(self, wanted: U64) -> I32:
        """Codes of (n, width) hashes; new rows get the next ones."""
        keys = _keys(wanted)
        new = unknown(keys, *self._index)
        if new.any():
            needed = int(self._count[0]) + len(np.unique(keys[new]))
            self._index = fitting(self._index, needed)
            self._rows = grown(self._rows, needed)
            _append(wanted, keys, new, *self._index, self._rows, self._count)
        return self.found(wanted)

    def found(self, wanted: U64) -> I32:
        """Codes of (n, width) hashes, NONE where a row has none."""
        return np.asarray(_found(_keys(wanted), *self._index), np.int32)

    @classmethod
    def restored(cls, rows: U64) -> Codes:
        """Codes that stand for these rows, in their order."""
        codes = cls(rows.shape[1])
        codes.added(rows)
        return codes


@njit(cache=True)
def _keys(wanted: Any) -> Any:
    keys = np.empty(len(wanted), np.uint64)
    for i in range(len(wanted)):
        key = np.uint64(0)
        for j in range(wanted.shape[1]):
            key = mix(wanted[i, j] ^ mix(key))
        keys[i] = key
    return keys


@njit(cache=True)
def _append(
    wanted: Any, wanted_keys: Any, new: Any, keys: Any, values: Any, rows: Any, count: Any
) -> None:
    for i in range(len(wanted)):
        if new[i] and find(keys, values, wanted_keys[i]) == NONE:
            rows[count[0]] = wanted[i]
            insert(keys, values, wanted_keys[i], np.int32(count[0]))
            count[0] += 1


@njit(cache=True)
def _found(wanted_keys: Any, keys: Any, values: Any) -> Any:
    out = np.empty(len(wanted_keys), np.int32)
    for i in range(len(wanted_keys)):
        out[i] = find(keys, values, wanted_keys[i])
    return out
