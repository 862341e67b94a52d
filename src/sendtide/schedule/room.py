"""Who is planned where, and what a place costs: the state every step of the planning shares.

A *cell* is one hour of one mailbox provider; all cells of a UTC day share the day's warm-up total.
A planned request stands in its cell's heap with its bid, the most it would pay to stay. A full cell
costs its lowest bid, a place in a full day the lowest bid of the day's cells; others are free.

The heaps are skew heaps (Sleator and Tarjan, Self-Adjusting Heaps, 1986) over arrays of children:
no room to reserve, one place per request.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.schedule.grid import Grid
from sendtide.schedule.problem import HOUR_MS, UNLIMITED, Constraints, Requests, Sent

__all__ = ["NOWHERE", "NO_TIME", "Room", "enter", "leave", "lowest", "pop", "push"]

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

NOWHERE: Final = -1
NO_TIME: Final = -(2**62)
"""Time of what is not planned: in no period of any cap."""
_DAY_SLOTS: Final = 24


class Room(NamedTuple):
    """n requests, p providers, s slots, d days.

    cell: (n,) where each is planned. time_ms, gain: (n,) when, and value times P(open) there. bid:
    (n,). left, right: (n,) children. root, used, limit: (p * s,) of the cells, cell = provider *
    slots + slot. day_count, day_limit: (d,). day_price: (d,) 0 unless full.
    """

    slots: int
    cell: I64
    time_ms: I64
    gain: F64
    bid: F64
    left: I64
    right: I64
    root: I64
    used: I64
    limit: I64
    day_count: I64
    day_limit: I64
    day_price: F64

    @classmethod
    def of(cls, requests: Requests, sent: Sent, rules: Constraints, grid: Grid) -> Room:
        """Nothing planned; what was sent has taken its share of rates and warm-up."""
        n, slots, providers = len(requests), grid.slots, len(rules.rates)
        days = slots // _DAY_SLOTS
        limit = np.repeat(rules.rates, slots)
        first_day = grid.first_ms // (_DAY_SLOTS * HOUR_MS)
        day_limit = np.full(days, UNLIMITED, np.int64)
        for k, total in enumerate(rules.warm_up):
            if 0 <= rules.warm_up_day + k - first_day < days:
                day_limit[rules.warm_up_day + k - first_day] = total
        slot = (sent.sent_at_ms - grid.first_ms) // HOUR_MS
        inside = (slot >= 0) & (slot < slots)
        known = inside & (sent.provider >= 0) & (sent.provider < providers)
        day_count = np.bincount(slot[inside] // _DAY_SLOTS, minlength=days).astype(np.int64)
        taken = (day_limit >= 0) & (day_count >= day_limit)  # and nobody there could give way
        return cls(
            slots=slots,
            cell=np.full(n, NOWHERE, np.int64),
            time_ms=np.full(n, NO_TIME, np.int64),
            gain=np.zeros(n),
            bid=np.zeros(n),
            left=np.full(n, NOWHERE, np.int64),
            right=np.full(n, NOWHERE, np.int64),
            root=np.full(providers * slots, NOWHERE, np.int64),
            used=np.bincount(
                sent.provider[known] * slots + slot[known], minlength=providers * slots
            ).astype(np.int64),
            limit=limit,
            day_count=day_count,
            day_limit=day_limit,
            day_price=np.where(taken, np.inf, 0.0),
        )


@njit(cache=True, inline="always")
def _below(room: Any, a: int, b: int) -> bool:
    """Whether `a` bids less; of equal bids the later request is the lower one."""
    return bool(room.bid[a] < room.bid[b] or (room.bid[a] == room.bid[b] and a > b))


@njit(cache=True)
def _merged(room: Any, a: int, b: int) -> int:
    """Root of both heaps in one: the right spines merged, every node's children swapped."""
    if a == NOWHERE:
        return b
    if b == NOWHERE:
        return a
    if _below(room, b, a):
        a, b = b, a
    root, node, other = a, a, b
    while True:
        rest = room.right[node]
        room.right[node] = room.left[node]
        if rest == NOWHERE:
            room.left[node] = other
            return root
        if _below(room, other, rest):
            rest, other = other, rest
        room.left[node] = rest
        node = rest


@njit(cache=True)
def push(room: Any, cell: int, i: int) -> None:
    """Put request `i` on the heap of `cell`."""
    room.left[i], room.right[i] = NOWHERE, NOWHERE
    room.root[cell] = _merged(room, room.root[cell], i)


@njit(cache=True)
def pop(room: Any, cell: int) -> int:
    """Take the lowest bidder off the heap of `cell`."""
    i = room.root[cell]
    room.root[cell] = _merged(room, room.left[i], room.right[i])
    return int(i)


@njit(cache=True)
def lowest(room: Any, day: int) -> int:
    """Cell of a day with the lowest bid, NOWHERE if nothing is planned on it."""
    best = NOWHERE
    for first in range(day * _DAY_SLOTS, len(room.root), room.slots):
        for cell in range(first, first + _DAY_SLOTS):
            root = room.root[cell]
            if root != NOWHERE and (best == NOWHERE or _below(room, root, room.root[best])):
                best = cell
    return int(best)


@njit(cache=True)
def _set_day_price(room: Any, day: int) -> None:
    if room.day_limit[day] < 0 or room.day_count[day] < room.day_limit[day]:
        room.day_price[day] = 0.0
        return
    cell = lowest(room, day)
    room.day_price[day] = np.inf if cell == NOWHERE else room.bid[room.root[cell]]


@njit(cache=True)
def enter(room: Any, i: int, cell: int, time_ms: int, gain: float) -> None:
    """Count request `i` into `cell` at this time; pushing it on the heap is the auction's."""
    day = cell % room.slots // _DAY_SLOTS
    room.cell[i], room.time_ms[i], room.gain[i] = cell, time_ms, gain
    room.used[cell] += 1
    room.day_count[day] += 1
    if room.day_limit[day] >= 0:
        _set_day_price(room, day)


@njit(cache=True)
def leave(room: Any, i: int) -> None:
    """Count request `i` out of its cell."""
    cell = room.cell[i]
    day = cell % room.slots // _DAY_SLOTS
    room.cell[i], room.time_ms[i], room.gain[i] = NOWHERE, NO_TIME, 0.0
    room.used[cell] -= 1
    room.day_count[day] -= 1
    if room.day_limit[day] >= 0:
        _set_day_price(room, day)
