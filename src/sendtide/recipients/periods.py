"""Counts by ten-day period, 21 periods in one word: what a decaying rate is computed from later.

A word holds 21 counts of three bits, the newest period lowest. A count stays at 7. Adding commutes
with moving on to a newer period, so the words depend on the sends alone, not on their order: a
send older than the last period ever kept is dropped either way.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.events.examples import PERIOD_BITS, PERIODS

__all__ = ["counted", "newest_sum", "shifted"]

_BITS: Final = np.int64(PERIOD_BITS)
_FULL: Final = np.uint64((1 << PERIOD_BITS) - 1)
_ALL: Final = np.uint64((1 << (PERIOD_BITS * PERIODS)) - 1)
_ONE: Final = np.uint64(1)
_NONE: Final = np.uint64(0)


@njit(cache=True)
def shifted(word: Any, periods: int) -> Any:
    """The word as seen `periods` later; earlier, and without what is newer, if negative."""
    if periods >= PERIODS or periods <= -PERIODS:
        return _NONE
    if periods < 0:
        return word >> np.uint64(-periods * _BITS)
    return (word << np.uint64(periods * _BITS)) & _ALL


@njit(cache=True)
def counted(word: Any, age: int) -> Any:
    """The word with one more in the period `age` before the newest."""
    if age >= PERIODS:
        return word
    place = np.uint64(age * _BITS)
    if (word >> place) & _FULL == _FULL:
        return word
    return word + (_ONE << place)


@njit(cache=True)
def newest_sum(word: Any, periods: int) -> float:
    """Sum of the newest counts."""
    total = 0.0
    for age in range(periods):
        total += (word >> np.uint64(age * _BITS)) & _FULL
    return total
