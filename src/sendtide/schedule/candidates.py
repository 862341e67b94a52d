"""Every request's possible hours, written down once: an auction looks at each many times."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.schedule.grid import Grid, moment, slot_range
from sendtide.schedule.problem import Requests

__all__ = ["Candidates"]


class Candidates(NamedTuple):
    """Those of request i at [first[i], first[i + 1]), by time: slot, and value times P(open)."""

    first: NDArray[np.int64]
    slot: NDArray[np.int32]
    gain: NDArray[np.float64]

    @classmethod
    def of(cls, requests: Requests, grid: Grid) -> Candidates:
        """Hours inside the window that are not quiet."""
        counts = _counted(grid, len(requests))
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        slot, gain = np.empty(int(first[-1]), np.int32), np.empty(int(first[-1]))
        _fill(grid, requests.value, requests.curve, requests.curves, first, slot, gain)
        return cls(first, slot, gain)


@njit(cache=True)
def _counted(grid: Any, n: int) -> Any:
    counts = np.zeros(n, np.int64)
    for i in range(n):
        first, inside, _ = slot_range(grid, i)
        for slot in range(first, inside):
            if not moment(grid, i, slot)[2]:
                counts[i] += 1
    return counts


@njit(cache=True)
def _fill(
    grid: Any, value: Any, curve: Any, curves: Any, first: Any, slots: Any, gain: Any
) -> None:
    for i in range(len(value)):
        begin, inside, _ = slot_range(grid, i)
        place = first[i]
        for slot in range(begin, inside):
            _, hour, quiet = moment(grid, i, slot)
            if not quiet:
                slots[place], gain[place] = slot, value[i] * curves[curve[i], hour]
                place += 1
