"""A control group in a plan: its hours are drawn, not chosen, and the others planned around them.

Control messages are placed first, in an order of chance, each uniformly among the hours of its
window that keep every rule beside those placed before it. So what is known of each is exact: its
propensity is one over the number of hours it had. One that has none left is placed like any other
that cannot keep every rule, and has no propensity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix
from sendtide.schedule.candidates import Candidates
from sendtide.schedule.caps import People
from sendtide.schedule.exchange import fits, go
from sendtide.schedule.grid import Grid, moment
from sendtide.schedule.least_bad import place_least_bad
from sendtide.schedule.problem import Constraints, Requests, Sent
from sendtide.schedule.room import Room
from sendtide.schedule.solve import Schedule, probabilities, solve

__all__ = ["solve_beside_control"]

F64 = NDArray[np.float64]
_ORDER: Final = np.uint64(0x9E3779B97F4A7C15)


def solve_beside_control(
    requests: Requests,
    rules: Constraints,
    sent: Sent | None,
    controlled: NDArray[np.bool_],
    keys: NDArray[np.uint64],
) -> tuple[Schedule, F64]:
    """Plan every request; those of the control group (n,) at drawn hours.

    keys: (n,) a hash of each request, which draws for it.

    Returns:
        The schedule, and (n,) propensities of the control group's hours, NaN elsewhere.

    Raises:
        ConfigurationError: as `solve`.
    """
    told, sent = np.full(len(requests), np.nan), Sent() if sent is None else sent
    if not controlled.any():
        return solve(requests, rules, sent), told
    drawn, told[controlled] = _drawn(_part(requests, controlled), rules, sent, keys[controlled])
    if controlled.all():
        return drawn, told
    before = Sent(
        recipient=np.concatenate([sent.recipient, requests.recipient[controlled]]),
        sent_at_ms=np.concatenate([sent.sent_at_ms, drawn.send_at_ms]),
        provider=np.concatenate([sent.provider, requests.provider[controlled]]),
    )
    return _together(drawn, solve(_part(requests, ~controlled), rules, before), controlled), told


def _part(requests: Requests, rows: NDArray[np.bool_]) -> Requests:
    names = ("recipient", "provider", "zone", "window_start_ms", "window_end_ms", "value", "curve")
    return replace(requests, **{name: getattr(requests, name)[rows] for name in names})


def _drawn(
    requests: Requests, rules: Constraints, sent: Sent, keys: NDArray[np.uint64]
) -> tuple[Schedule, F64]:
    grid = Grid.of(requests, rules)
    people, room = People.of(requests, sent, rules), Room.of(requests, sent, rules, grid)
    candidates = Candidates.of(requests, grid)
    told = _draw(grid, people, candidates, requests.provider, room, keys)
    columns = requests.value, requests.curve, requests.curves
    relaxed = place_least_bad(grid, people, requests.provider, *columns, room, rules.costs())
    probability = probabilities(requests, room, grid)
    schedule = Schedule(
        send_at_ms=room.time_ms,
        open_probability=probability,
        relaxed=relaxed,
        prices=np.zeros((len(rules.rates), room.slots)),
        first_ms=grid.first_ms,
        expected_opens=float(probability.sum()),
        expected_value=float(room.gain.sum()),
        bids=0,
    )
    return schedule, told


@njit(cache=True)
def _draw(grid: Any, people: Any, candidates: Any, provider: Any, room: Any, keys: Any) -> Any:
    """Place whom a rule-keeping hour is left for; return (n,) propensities, NaN for the others."""
    begins, slots, gains = candidates
    order, told = np.empty(len(keys), np.uint64), np.full(len(keys), np.nan)
    for i in range(len(keys)):
        order[i] = mix(keys[i] ^ _ORDER)
    for i in np.argsort(order, kind="mergesort"):
        row, free = provider[i] * room.slots, 0
        for k in range(begins[i], begins[i + 1]):
            free += fits(grid, people, room, i, row + slots[k])
        if free == 0:
            continue
        unit = float(mix(keys[i]) >> np.uint64(11)) * 2.0**-53
        left = min(int(unit * free), free - 1)
        for k in range(begins[i], begins[i + 1]):
            if fits(grid, people, room, i, row + slots[k]):
                if left == 0:
                    go(room, i, row + slots[k], moment(grid, i, slots[k])[0], gains[k])
                    break
                left -= 1
        told[i] = 1.0 / free
    return told


def _together(drawn: Schedule, solved: Schedule, controlled: NDArray[np.bool_]) -> Schedule:
    """Both in the order of the requests; prices are those of the part that was solved."""

    def merged(name: str) -> NDArray[Any]:
        mine, others = getattr(drawn, name), getattr(solved, name)
        out = np.empty(len(controlled), others.dtype)
        out[controlled], out[~controlled] = mine, others
        return out

    return replace(
        solved,
        send_at_ms=merged("send_at_ms"),
        open_probability=merged("open_probability"),
        relaxed=merged("relaxed"),
        expected_opens=drawn.expected_opens + solved.expected_opens,
        expected_value=drawn.expected_value + solved.expected_value,
    )
