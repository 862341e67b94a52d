"""Open-addressing hash tables in plain arrays: from a recipient or a 64-bit identity to a slot.

Linear probing over a power-of-two table at a load of at most one half. Deletion shifts later
entries back, so no table ever fills with graves. The loops that use them stay in `recipients`;
here are the four steps they share, compiled.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix

__all__ = ["EMPTY", "delete", "find", "fitting", "insert", "new_table", "rebuilt"]
__all__ += ["recipient_hash", "unknown"]

EMPTY: Final = -1
_SMALLEST: Final = 64

Table = tuple[NDArray[np.uint64], NDArray[np.int32]]


@njit(cache=True)
def recipient_hash(client: Any, high: Any, low: Any) -> Any:
    """64-bit key of a recipient: client hash and both halves of the 128-bit id."""
    return mix(np.uint64(client) ^ mix(np.uint64(high) ^ mix(np.uint64(low))))


def new_table(entries: int) -> Table:
    """Return (keys, values) with room for `entries` at a load of one half."""
    size = _SMALLEST
    while size < 2 * entries:
        size *= 2
    return np.zeros(size, np.uint64), np.full(size, EMPTY, np.int32)


def fitting(table: Table, entries: int) -> Table:
    """The table itself, or a larger copy if `entries` would fill more than half of it."""
    keys, values = table
    if 2 * entries <= len(keys):
        return table
    used = values != EMPTY
    return rebuilt(keys[used], values[used], 2 * entries)


def rebuilt(keys: NDArray[np.uint64], values: NDArray[np.int32], entries: int) -> Table:
    """Return a table of these pairs with room for `entries`."""
    table = new_table(max(entries, len(keys)))
    _insert_all(*table, keys, values)
    return table


@njit(cache=True)
def _insert_all(keys: Any, values: Any, new_keys: Any, new_values: Any) -> None:
    for i in range(len(new_keys)):
        insert(keys, values, new_keys[i], new_values[i])


@njit(cache=True)
def find(keys: Any, values: Any, key: Any) -> Any:
    """Value of `key`, EMPTY if it is not there."""
    mask = len(keys) - 1
    place = np.int64(mix(key) & np.uint64(mask))
    while values[place] != EMPTY:
        if keys[place] == key:
            return values[place]
        place = (place + 1) & mask
    return np.int32(EMPTY)


@njit(cache=True)
def unknown(wanted: Any, keys: Any, values: Any) -> Any:
    """Which keys are not there, bool (n,): to count new ones first; sorting all would cost more."""
    new = np.empty(len(wanted), np.bool_)
    for i in range(len(wanted)):
        new[i] = find(keys, values, wanted[i]) == EMPTY
    return new


@njit(cache=True)
def insert(keys: Any, values: Any, key: Any, value: Any) -> None:
    """Set the value of `key`; there must be room."""
    mask = len(keys) - 1
    place = np.int64(mix(key) & np.uint64(mask))
    while values[place] != EMPTY and keys[place] != key:
        place = (place + 1) & mask
    keys[place] = key
    values[place] = value


@njit(cache=True)
def delete(keys: Any, values: Any, key: Any) -> None:
    """Remove `key` if it is there, and close the gap it leaves."""
    mask = len(keys) - 1
    gap = np.int64(mix(key) & np.uint64(mask))
    while values[gap] != EMPTY and keys[gap] != key:
        gap = (gap + 1) & mask
    if values[gap] == EMPTY:
        return
    place = gap
    while True:
        place = (place + 1) & mask
        if values[place] == EMPTY:
            break
        home = np.int64(mix(keys[place]) & np.uint64(mask))
        if ((place - home) & mask) >= ((place - gap) & mask):
            keys[gap], values[gap] = keys[place], values[place]
            gap = place
    values[gap] = EMPTY
