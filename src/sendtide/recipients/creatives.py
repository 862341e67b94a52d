"""What the pending sends of a partition are made of: each creative once, however many share it.

A pending send holds its creative's code. A creative that no pending send has any more is dropped at
a sweep, when the table has grown by a quarter since the last one: memory is bounded by the
creatives in flight, at worst 69 bytes for each pending send where every subject is another one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.creative import CREATIVE, Creatives
from sendtide.recipients.tables import NONE, grown
from sendtide.state.index import EMPTY, find, fitting, insert, new_table

__all__ = ["CreativeTable"]

U64 = NDArray[np.uint64]

_LEAST: Final = 4_096
"""Creatives added before a sweep is worth its while."""


@njit(cache=True)
def _add_new(codes: Any, keys: Any, values: Any, count: int) -> Any:
    """Give rows from `count` on to codes not known yet; which of them were new."""
    new = np.zeros(len(codes), np.bool_)
    for i in range(len(codes)):
        if find(keys, values, codes[i]) == EMPTY:
            insert(keys, values, codes[i], np.int32(count))
            new[i] = True
            count += 1
    return new


@njit(cache=True)
def _rows_of(codes: Any, keys: Any, values: Any) -> Any:
    out = np.empty(len(codes), np.int64)
    for i in range(len(codes)):
        out[i] = find(keys, values, codes[i])
    return out


@njit(cache=True)
def _mark(pending: Any, keys: Any, values: Any, used: Any) -> None:
    """Set `used` for the rows of creatives that sends in flight have."""
    for i in range(len(pending)):
        send = pending[i]
        if send.recipient != NONE and send.identity != 0 and send.creative != 0:
            used[find(keys, values, send.creative)] = True


class CreativeTable:
    """Creatives of one partition's pending sends, by code."""

    def __init__(self) -> None:
        self._index = new_table(0)
        self._rows = np.zeros(16, CREATIVE)
        self._codes: U64 = np.zeros(16, np.uint64)
        self._count = 0
        self._limit = _LEAST

    def __len__(self) -> int:
        return self._count

    def add(self, creatives: Creatives, pending: NDArray[np.void]) -> None:
        """Know these too. pending: PENDING rows, whose creatives outlive a sweep."""
        if self._count + len(creatives) > self._limit:
            self._sweep(pending)
        needed = self._count + len(creatives)
        self._index = fitting(self._index, needed)
        self._rows, self._codes = grown(self._rows, needed), grown(self._codes, needed)
        new = _add_new(creatives.codes, *self._index, self._count)
        end = self._count + int(new.sum())
        self._rows[self._count : end] = creatives.rows[new]
        self._codes[self._count : end] = creatives.codes[new]
        self._count = end

    def of(self, codes: U64) -> Creatives:
        """The creatives of sends with these codes, each once; 0 has none."""
        if not codes.any():
            return Creatives.none()
        found = np.unique(codes[codes != 0])
        return Creatives(found, self._rows[_rows_of(found, *self._index)])

    def _sweep(self, pending: NDArray[np.void]) -> None:
        used = np.zeros(self._count, np.bool_)
        _mark(pending, *self._index, used)
        kept = Creatives(self._codes[: self._count][used], self._rows[: self._count][used])
        self.__init__()  # type: ignore[misc]
        self._limit = len(kept) + max(_LEAST, len(kept) // 4)
        self.add(kept, pending)
