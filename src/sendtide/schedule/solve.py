"""From requests to a schedule: candidates, auction, exchanges, the least bad for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.schedule.auction import auction, improve
from sendtide.schedule.candidates import Candidates
from sendtide.schedule.caps import People
from sendtide.schedule.exchange import exchange
from sendtide.schedule.grid import Grid
from sendtide.schedule.least_bad import place_least_bad
from sendtide.schedule.problem import HOUR_MS, Constraints, Requests, Sent
from sendtide.schedule.rebuild import rebuild
from sendtide.schedule.room import NOWHERE, Room

__all__ = ["Schedule", "probabilities", "solve"]

_STEP: Final = 1e-3
"""Step of the auction, in parts of the mean best gain: the loss a request may have at the most,
until it has lost its place `_PATIENCE` times."""
_PATIENCE: Final = 6
_UNPLANNED: Final = 2.0
"""Price of staying unplanned, in parts of the largest gain there is."""
_PASSES: Final = 30
_WORK: Final = 60_000
"""Exchange passes end when nothing moves, after `_PASSES`, or beyond this many requests."""
_TRIES: Final = 64
_ROUNDS: Final = 1_000
_MOST_ROUNDS: Final = 20_000
"""Rebuilding rounds, for each request and in all: small cases need chance, large ones average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One row per request, in their order.

    send_at_ms, open_probability: (n,). relaxed: (n,) bits of `problem.REASONS` that gave way.
    prices: (providers, slots) what one more message in that hour is worth, in value; 0 where there
    is room. first_ms: begin of the first slot. bids: made in the auction.
    """

    send_at_ms: NDArray[np.int64]
    open_probability: NDArray[np.float64]
    relaxed: NDArray[np.uint8]
    prices: NDArray[np.float64]
    first_ms: int
    expected_opens: float
    expected_value: float
    bids: int


def solve(requests: Requests, rules: Constraints, sent: Sent | None = None) -> Schedule:
    """Plan every request. Deterministic; no request is left out.

    Raises:
        ConfigurationError: windows span more than can be scheduled at once, or a provider has no
            rate in the rules.
    """
    sent = Sent() if sent is None else sent
    grid = Grid.of(requests, rules)
    people = People.of(requests, sent, rules)
    room = Room.of(requests, sent, rules, grid)
    candidates = Candidates.of(requests, grid)
    largest = float(candidates.gain.max(initial=0.0)) or 1.0
    typical = float(candidates.gain.mean()) if len(candidates.gain) else 1.0
    step = _STEP * max(typical, 1e-12)
    arguments = (grid, people, candidates, requests.provider, room)
    bids = auction(*arguments, step, _PATIENCE, -_UNPLANNED * largest)
    prices = _prices(room, len(rules.rates), largest)
    improve(*arguments)
    for _ in range(min(_PASSES, _WORK // max(len(requests), 1))):
        if not exchange(*arguments, -_UNPLANNED * largest, _TRIES):
            break
    if len(requests) <= _WORK:
        rebuild(*arguments, -_UNPLANNED * largest, min(_ROUNDS * len(requests), _MOST_ROUNDS))
        exchange(*arguments, -_UNPLANNED * largest, _TRIES)
    relaxed = place_least_bad(
        grid,
        people,
        requests.provider,
        requests.value,
        requests.curve,
        requests.curves,
        room,
        rules.costs(),
    )
    probability = probabilities(requests, room, grid)
    return Schedule(
        send_at_ms=room.time_ms,
        open_probability=probability,
        relaxed=relaxed,
        prices=prices,
        first_ms=grid.first_ms,
        expected_opens=float(probability.sum()),
        expected_value=float(room.gain.sum()),
        bids=bids,
    )


def _prices(room: Room, providers: int, largest: float) -> NDArray[np.float64]:
    """Lowest bids of full cells and days; at the most the largest gain there is."""
    full = (room.limit >= 0) & (room.used >= room.limit)
    bids = np.where(room.root == NOWHERE, largest, room.bid[room.root])
    cells = np.where(full, bids, 0.0).reshape(providers, room.slots)
    return np.asarray(np.minimum(np.maximum(cells, np.repeat(room.day_price, 24)), largest))


def probabilities(requests: Requests, room: Room, grid: Grid) -> NDArray[np.float64]:
    """P(open) at the time planned."""
    slot = (room.time_ms - grid.first_ms) // HOUR_MS
    inside = (room.time_ms - grid.first_ms) // 1_000 - slot * 3_600
    later = inside >= grid.change[grid.zone, slot]
    offset = np.where(later, grid.after[grid.zone, slot], grid.before[grid.zone, slot])
    hour = ((room.time_ms // 1_000 + offset) // 3_600 + 72) % 168
    return requests.curves[requests.curve, hour].astype(np.float64)
