"""The exact optimum of small cases by mixed-integer programming, to judge the auction by.

One 0/1 variable per request and hour that keeps window and quiet hours; rows for one hour per
request, rates, warm-up days and every period of every cap that begins with a possible time or one
that was sent. Unplanned requests cost twice the largest gain, as in the auction. Solved by HiGHS
through `scipy.optimize.milp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from sendtide.schedule.candidates import Candidates
from sendtide.schedule.caps import People
from sendtide.schedule.grid import Grid, moment
from sendtide.schedule.problem import Constraints, Requests, Sent
from sendtide.schedule.room import Room

__all__ = ["Optimum", "optimum"]

_UNPLANNED: Final = 2.0


@dataclass(frozen=True, slots=True)
class Optimum:
    """value: gain of the planned. planned: how many keep every rule."""

    value: float
    planned: int


def optimum(requests: Requests, rules: Constraints, sent: Sent | None = None) -> Optimum:
    """Plan as many as possible (priced as in the auction), then for the largest gain; exactly.

    Raises:
        ArithmeticError: the solver gives up.
    """
    sent = Sent() if sent is None else sent
    grid = Grid.of(requests, rules)
    people = People.of(requests, sent, rules)
    room = Room.of(requests, sent, rules, grid)
    possible = Candidates.of(requests, grid)
    owner = np.repeat(np.arange(len(requests)), np.diff(possible.first))
    if not len(owner):
        return Optimum(0.0, 0)
    slots = possible.slot.tolist()
    pairs = zip(owner.tolist(), slots, strict=True)
    times = np.array([moment(grid, i, slot)[0] for i, slot in pairs])
    largest = float(possible.gain.max()) or 1.0
    cells = requests.provider[owner].astype(np.int64) * grid.slots + possible.slot
    groups = [*_limits(owner, np.ones(len(requests), np.int64))]
    groups += _limits(cells, np.where(room.limit < 0, -1, np.maximum(room.limit - room.used, 0)))
    days = room.day_limit
    left = np.where(days < 0, -1, np.maximum(days - room.day_count, 0))
    groups += _limits(possible.slot // 24, left)
    groups += _caps(people, people.person[owner], times)
    rows = np.concatenate([np.full(len(m), r) for r, (m, _) in enumerate(groups)])
    columns = np.concatenate([m for m, _ in groups])
    matrix = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(groups), len(owner)))
    found = milp(
        -(possible.gain + _UNPLANNED * largest),
        constraints=LinearConstraint(matrix, ub=np.array([limit for _, limit in groups])),
        integrality=np.ones(len(owner)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        msg = f"the solver found no schedule: {found.message}"
        raise ArithmeticError(msg)
    chosen = found.x > 0.5  # solvers give 0 and 1 up to rounding
    return Optimum(float(possible.gain[chosen].sum()), int(chosen.sum()))


def _limits(group: NDArray[Any], limit: NDArray[np.int64]) -> list[tuple[NDArray[np.intp], int]]:
    """Members and limit of every group that has one."""
    return [(np.flatnonzero(group == g), int(limit[g])) for g in np.unique(group) if limit[g] >= 0]


def _caps(
    people: People, person: NDArray[np.int64], times: NDArray[np.int64]
) -> list[tuple[NDArray[np.intp], int]]:
    """Every period of every cap; what was sent has taken its share."""
    groups = []
    for length, limit in zip(people.lengths_ms.tolist(), people.limits.tolist(), strict=True):
        for p in np.unique(person).tolist() if limit >= 0 else ():
            was = people.sent_ms[people.sent_first[p] : people.sent_first[p + 1]]
            own = person == p
            for begin in np.unique(np.concatenate([was, times[own]])).tolist():
                inside = own & (times >= begin) & (times < begin + length)
                taken = int(((was >= begin) & (was < begin + length)).sum())
                if inside.any():
                    groups.append((np.flatnonzero(inside), max(limit - taken, 0)))
    return groups
