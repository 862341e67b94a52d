"""Exchanges after the auction: one request gets a better hour because another steps aside.

The auction sees one request at a time; caps tie requests of a person together, and only moving two
at once gets past that. For every hour a request would like, whoever stands in its way (in the cell,
in the full day, or another message to the same person) is tried elsewhere; the pair moves where
both together gain. The planned value never falls, so a pass can be repeated until nothing moves.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.schedule.caps import broken_caps
from sendtide.schedule.grid import moment
from sendtide.schedule.room import NO_TIME, NOWHERE

__all__ = ["best_fit", "exchange", "fits", "go"]

_DAY_SLOTS: Final = 24
_LEAST: Final = 1e-12
"""Smaller gains are rounding; taking them could go round in circles."""


@njit(cache=True)
def go(room: Any, i: int, cell: int, time_ms: int, gain: float) -> None:
    """Move request `i` to `cell` (NOWHERE: out), counts included; heaps and prices are past."""
    old = room.cell[i]
    if old != NOWHERE:
        room.used[old] -= 1
        room.day_count[old % room.slots // _DAY_SLOTS] -= 1
    room.cell[i], room.time_ms[i], room.gain[i] = cell, time_ms, gain
    if cell != NOWHERE:
        room.used[cell] += 1
        room.day_count[cell % room.slots // _DAY_SLOTS] += 1


@njit(cache=True)
def fits(grid: Any, people: Any, room: Any, i: int, cell: int) -> bool:
    """Whether request `i`, now nowhere, would keep every rule in `cell`, one of its candidates."""
    slot = cell % room.slots
    day = slot // _DAY_SLOTS
    if 0 <= room.limit[cell] <= room.used[cell]:
        return False
    if 0 <= room.day_limit[day] <= room.day_count[day]:
        return False
    return bool(
        people.free[i] or broken_caps(people, room.time_ms, i, moment(grid, i, slot)[0]) == 0
    )


@njit(cache=True)
def best_fit(
    grid: Any, people: Any, candidates: Any, row: int, room: Any, i: int, blinks: float = 0.0
) -> int:
    """Candidate of `i`, now nowhere, that is worth most of those that fit; -1 for none.

    blinks: share of the candidates overlooked, at random.
    """
    begins, slots, gains = candidates
    best, gain = -1, -1.0
    for k in range(begins[i], begins[i + 1]):
        if blinks > 0.0 and np.random.random() < blinks:
            continue
        if gains[k] > gain and fits(grid, people, room, i, row + slots[k]):
            best, gain = k, gains[k]
    return best


@njit(cache=True)
def _blockers(people: Any, room: Any, order: Any, first: Any, i: int, cell: int, out: Any) -> int:
    """Fill `out` with requests that may stand in the way of `i` in `cell`; return how many."""
    count = 0
    slot = cell % room.slots
    day = slot // _DAY_SLOTS
    if 0 <= room.limit[cell] <= room.used[cell]:
        for k in range(first[cell], first[cell + 1]):
            if count < len(out) // 2 and room.cell[order[k]] == cell:
                out[count] = order[k]
                count += 1
    elif 0 <= room.day_limit[day] <= room.day_count[day]:
        for other in range(day * _DAY_SLOTS, len(room.root), room.slots):
            for k in range(first[other], first[other + _DAY_SLOTS]):
                at = room.cell[order[k]]
                if count < len(out) // 2 and at != NOWHERE and at % room.slots // _DAY_SLOTS == day:
                    out[count] = order[k]
                    count += 1
    if not people.free[i]:
        p = people.person[i]
        for k in range(people.first[p], people.first[p + 1]):
            j = people.requests[k]
            if count < len(out) and j != i and room.cell[j] != NOWHERE:
                out[count] = j
                count += 1
    return count


@njit(cache=True)
def exchange(
    grid: Any, people: Any, candidates: Any, provider: Any, room: Any, unplanned: float, tries: int
) -> int:
    """One pass over all requests; at most `tries` others are asked to step aside for an hour."""
    begins, slots, gains = candidates
    order = np.argsort(room.cell, kind="mergesort")
    first = np.searchsorted(room.cell[order], np.arange(len(room.root) + 1))
    others = np.empty(tries, np.int64)
    moves = 0
    for i in range(len(provider)):
        own, own_time, own_gain = room.cell[i], room.time_ms[i], room.gain[i]
        worth = own_gain if own != NOWHERE else unplanned
        row = provider[i] * room.slots
        go(room, i, NOWHERE, NO_TIME, 0.0)
        best_net, best_k, best_j, best_to = _LEAST, -1, -1, -1
        for k in range(begins[i], begins[i + 1]):
            cell = row + slots[k]
            if gains[k] - worth <= best_net:
                continue
            if fits(grid, people, room, i, cell):
                best_net, best_k, best_j, best_to = gains[k] - worth, k, -1, -1
                continue
            for b in range(_blockers(people, room, order, first, i, cell, others)):
                j = others[b]
                was, was_time, was_gain = room.cell[j], room.time_ms[j], room.gain[j]
                go(room, j, NOWHERE, NO_TIME, 0.0)
                if fits(grid, people, room, i, cell):
                    go(room, i, cell, moment(grid, i, slots[k])[0], gains[k])
                    to = best_fit(grid, people, candidates, provider[j] * room.slots, room, j)
                    net = gains[k] - worth - was_gain + (gains[to] if to >= 0 else unplanned)
                    if net > best_net:
                        best_net, best_k, best_j, best_to = net, k, j, to
                    go(room, i, NOWHERE, NO_TIME, 0.0)
                go(room, j, was, was_time, was_gain)
        if best_k < 0:
            go(room, i, own, own_time, own_gain)
            continue
        moves += 1
        if best_j >= 0:
            go(room, best_j, NOWHERE, NO_TIME, 0.0)
        slot = slots[best_k]
        go(room, i, row + slot, moment(grid, i, slot)[0], gains[best_k])
        if best_j >= 0 and best_to >= 0:
            slot = slots[best_to]
            cell, time_ms = provider[best_j] * room.slots + slot, moment(grid, best_j, slot)[0]
            go(room, best_j, cell, time_ms, gains[best_to])
    return moves
