"""An auction of hours: every request bids for its best hour at the prices of the moment.

Bertsekas' forward auction (The Auction Algorithm: a Distributed Relaxation Method for the
Assignment Problem, 1988) with similar objects: a request without a place bids for the cell that is
worth most to it net of the price, as much more than the price as that cell is better than its
second best, and a small step. A full cell takes the bid and lets its lowest bidder go, who bids
anew. Since nested limits (cells inside days) form a laminar matroid, the lowest bidder of a full
day is as good to let go as that of a full cell. From prices of zero this ends within n steps of
the largest total, where no person has two requests; caps only forbid cells to bidders.

Staying unplanned has a price too, so high that planning one more is worth more than any better
hour. A request that bids again and again takes larger steps, so that a group for which there is
too little room ends in a time that grows with the logarithm of that price only.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.schedule.caps import broken_caps
from sendtide.schedule.grid import moment
from sendtide.schedule.room import NOWHERE, enter, leave, lowest, pop, push

__all__ = ["auction", "improve"]

_DAY_SLOTS: Final = 24


@njit(cache=True)
def auction(
    grid: Any,
    people: Any,
    candidates: Any,
    provider: Any,
    room: Any,
    step: float,
    patience: int,
    unplanned: float,
) -> int:
    """Let every request bid until none waits; what finds no place stays NOWHERE. Returns bids."""
    n = len(provider)
    queue, bids, total, head, waiting = np.arange(n), np.zeros(n, np.int64), 0, 0, n
    begins, slots, gains = candidates
    count, limit, root, bid = room.used, room.limit, room.root, room.bid
    day_price, day_count, day_limit = room.day_price, room.day_count, room.day_limit
    free, time_of = people.free, room.time_ms
    while waiting > 0:
        i = queue[head]
        head = (head + 1) % n
        waiting -= 1
        total += 1
        row = provider[i] * room.slots
        best, best_net, second = -1, unplanned, unplanned
        for k in range(begins[i], begins[i + 1]):
            cell = row + slots[k]
            cost = day_price[slots[k] // _DAY_SLOTS]
            if 0 <= limit[cell] <= count[cell]:
                cost = max(cost, np.inf if root[cell] == NOWHERE else bid[root[cell]])
            net = gains[k] - cost
            if net <= second:
                continue
            if not free[i] and broken_caps(people, time_of, i, moment(grid, i, slots[k])[0]):
                continue
            if net > best_net:
                best, second, best_net = k, best_net, net
            else:
                second = net
        if best < 0:
            continue
        bids[i] += 1
        cell, day, out = row + slots[best], slots[best] // _DAY_SLOTS, NOWHERE
        if 0 <= limit[cell] <= count[cell]:
            out = pop(room, cell)
        elif 0 <= day_limit[day] <= day_count[day]:
            out = pop(room, lowest(room, day))
        if out != NOWHERE:
            leave(room, out)
            queue[(head + waiting) % n] = out
            waiting += 1
        bid[i] = gains[best] - second + step * 2.0 ** (bids[i] // patience)
        push(room, cell, i)
        enter(room, i, cell, moment(grid, i, slots[best])[0], gains[best])
    return total


@njit(cache=True)
def improve(grid: Any, people: Any, candidates: Any, provider: Any, room: Any) -> int:
    """Move single requests to better hours that have room, and plan the unplanned; count moves."""
    begins, slots, gains = candidates
    moves = 0
    for i in range(len(provider)):
        best = -1
        gain = room.gain[i] if room.cell[i] != NOWHERE else -1.0
        own_day = -1
        if room.cell[i] != NOWHERE:
            own_day = room.cell[i] % room.slots // _DAY_SLOTS
        for k in range(begins[i], begins[i + 1]):
            cell, day = provider[i] * room.slots + slots[k], slots[k] // _DAY_SLOTS
            if gains[k] <= gain or 0 <= room.limit[cell] <= room.used[cell]:
                continue
            if day != own_day and 0 <= room.day_limit[day] <= room.day_count[day]:
                continue
            time_ms = moment(grid, i, slots[k])[0]
            if people.free[i] or not broken_caps(people, room.time_ms, i, time_ms):
                best, gain = k, gains[k]
        if best >= 0:
            if room.cell[i] != NOWHERE:
                leave(room, i)
            time_ms = moment(grid, i, slots[best])[0]
            enter(room, i, provider[i] * room.slots + slots[best], time_ms, gain)
            moves += 1
    return moves
