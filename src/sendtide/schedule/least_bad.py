"""A time for what could not keep every rule: the one that breaks the least, and what it breaks."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.schedule.caps import broken_caps
from sendtide.schedule.grid import moment, slot_range
from sendtide.schedule.room import NOWHERE, enter

__all__ = ["place_least_bad"]

_QUIET, _WINDOW, _RATE, _WARM_UP = 3, 4, 5, 6
"""Places in `problem.REASONS`; the caps come before them."""
_DAY_SLOTS: Final = 24


@njit(cache=True)
def place_least_bad(
    grid: Any,
    people: Any,
    provider: Any,
    value: Any,
    curve: Any,
    curves: Any,
    room: Any,
    costs: Any,
) -> Any:
    """Plan what is NOWHERE, dearest first by index; return (n,) uint8 bits of the rules broken.

    Of the hours that break least by `costs` the one worth most is taken, of equal ones the first.
    """
    relaxed = np.zeros(len(provider), np.uint8)
    for i in range(len(provider)):
        if room.cell[i] != NOWHERE:
            continue
        first, _, late = slot_range(grid, i)
        best, best_cost, best_gain, best_mask, best_time = -1, np.int64(2**62), -1.0, 0, 0
        for slot in range(first, late):
            time_ms, hour, quiet = moment(grid, i, slot)
            cell = provider[i] * room.slots + slot
            mask = broken_caps(people, room.time_ms, i, time_ms)
            mask |= (1 << _QUIET) if quiet else 0
            mask |= (1 << _WINDOW) if time_ms >= grid.end_ms[i] else 0
            mask |= (1 << _RATE) if 0 <= room.limit[cell] <= room.used[cell] else 0
            day = slot // _DAY_SLOTS
            full = 0 <= room.day_limit[day] <= room.day_count[day]
            mask |= (1 << _WARM_UP) if full else 0
            cost = np.int64(0)
            for rule in range(len(costs)):
                cost += costs[rule] * (mask >> rule & 1)
            gain = value[i] * curves[curve[i], hour]
            if cost < best_cost or (cost == best_cost and gain > best_gain):
                best, best_cost, best_gain, best_mask = cell, cost, gain, mask
                best_time = time_ms
        enter(room, i, best, best_time, best_gain)
        relaxed[i] = best_mask
    return relaxed
