"""Tearing down a few requests and planning them anew in another order, many times.

Ruin and recreate (Schrimpf et al., Journal of Computational Physics 159, 2000) with a seeded
generator: what no exchange of two reaches, chains over caps and budgets, is found by chance. A
rebuilt part is kept only if the planned value has not fallen.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.schedule.exchange import best_fit, go
from sendtide.schedule.grid import moment
from sendtide.schedule.room import NO_TIME, NOWHERE

__all__ = ["rebuild"]

_MOST: Final = 8
_SEEK: Final = 0.5
"""Share of the rounds that begin with a request not planned yet, if there is one."""
_LEAST: Final = 1e-12


@njit(cache=True)
def _torn(people: Any, room: Any, out: Any) -> int:
    """Fill `out` with requests to tear down: one, its person's others, random ones."""
    n, count = len(people.person), 0
    wanted = 2 + np.random.randint(0, _MOST - 1)
    seed = np.random.randint(0, n)
    for _ in range(n if np.random.random() < _SEEK else 0):
        if room.cell[seed] != NOWHERE:
            seed = (seed + 1) % n
    p = people.person[seed]
    for k in range(people.first[p], people.first[p + 1]):
        if count < _MOST - 1:
            out[count] = people.requests[k]
            count += 1
    for _ in range(4 * _MOST):
        j = np.random.randint(0, n)
        known = count >= max(wanted, 2) or count >= _MOST
        for b in range(count):
            known = known or out[b] == j
        if not known:
            out[count] = j
            count += 1
    for b in range(count - 1, 0, -1):
        other = np.random.randint(0, b + 1)
        out[b], out[other] = out[other], out[b]
    return count


@njit(cache=True)
def rebuild(
    grid: Any, people: Any, candidates: Any, provider: Any, room: Any, unplanned: float, rounds: int
) -> int:
    """So many rounds, drawn from one seed; return how many were kept and better."""
    np.random.seed(1)
    _, slots, gains = candidates
    torn, better = np.empty(_MOST, np.int64), 0
    cells, times = np.empty(_MOST, np.int64), np.empty(_MOST, np.int64)
    worth = np.empty(_MOST)
    for _ in range(rounds):
        count = _torn(people, room, torn)
        before, after = 0.0, 0.0
        for b in range(count):
            i = torn[b]
            cells[b], times[b], worth[b] = room.cell[i], room.time_ms[i], room.gain[i]
            before += worth[b] if cells[b] != NOWHERE else unplanned
        for b in range(count):
            go(room, torn[b], NOWHERE, NO_TIME, 0.0)
        for b in range(count):
            i = torn[b]
            row = provider[i] * room.slots
            k = best_fit(grid, people, candidates, row, room, i)
            after += gains[k] if k >= 0 else unplanned
            if k >= 0:
                go(room, i, row + slots[k], moment(grid, i, slots[k])[0], gains[k])
        if after < before:
            for b in range(count):
                go(room, torn[b], NOWHERE, NO_TIME, 0.0)
            for b in range(count):
                go(room, torn[b], cells[b], times[b], worth[b])
        elif after > before + _LEAST:
            better += 1
    return better
