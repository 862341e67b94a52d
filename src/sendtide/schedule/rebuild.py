"""Tearing down a few requests and planning them anew in another order, many times.

Ruin and recreate (Schrimpf et al., Journal of Computational Physics 159, 2000) with a seeded
generator: what no exchange of two reaches, chains over caps and budgets, is found by chance. Hours
are overlooked at random while rebuilding, and a part that lost some value is kept now and then,
ever less ("blinks" and annealing as in Christiaens and Vanden Berghe, Slack Induction by String
Removals, Transportation Science 54, 2020): who always takes the best hour never makes room for one
message more. The best plan met on the way is the one that stays.
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
_BLINKS: Final = 0.8
"""Most hours overlooked in a round, as a share."""
_HEAT: Final = 0.1
"""Temperature at the beginning, in parts of what an unplanned request costs."""
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
def _put_back(room: Any, requests: Any, cells: Any, times: Any, gains: Any) -> None:
    """Let requests be where they were."""
    for b in range(len(requests)):
        go(room, requests[b], NOWHERE, NO_TIME, 0.0)
    for b in range(len(requests)):
        if cells[b] != NOWHERE:
            go(room, requests[b], cells[b], times[b], gains[b])


@njit(cache=True)
def rebuild(
    grid: Any, people: Any, candidates: Any, provider: Any, room: Any, unplanned: float, rounds: int
) -> int:
    """So many rounds, drawn from one seed; return how many found the best so far.

    unplanned: what a request without a place counts for.
    """
    np.random.seed(1)
    _, slots, gains = candidates
    torn, found = np.empty(_MOST, np.int64), 0
    everybody = np.arange(len(provider))
    best = room.cell.copy(), room.time_ms.copy(), room.gain.copy()
    ahead = 0.0  # of the best so far
    for number in range(rounds):
        count = _torn(people, room, torn)
        some = torn[:count]
        cells, times, worth = room.cell[some], room.time_ms[some], room.gain[some]
        change = 0.0
        for b in range(count):
            change -= worth[b] if cells[b] != NOWHERE else unplanned
            go(room, some[b], NOWHERE, NO_TIME, 0.0)
        blinks = _BLINKS * np.random.random()
        for b in range(count):
            i = some[b]
            row = provider[i] * room.slots
            k = best_fit(grid, people, candidates, row, room, i, blinks)
            change += gains[k] if k >= 0 else unplanned
            if k >= 0:
                go(room, i, row + slots[k], moment(grid, i, slots[k])[0], gains[k])
        heat = _HEAT * -unplanned * (1.0 - number / rounds)
        if change < heat * np.log(1.0 - np.random.random()):
            _put_back(room, some, cells, times, worth)
            continue
        ahead += change
        if ahead > _LEAST:
            found, ahead = found + 1, 0.0
            best[0][:], best[1][:], best[2][:] = room.cell, room.time_ms, room.gain
    _put_back(room, everybody, *best)
    return found
