"""Which slot of a window a request gets: best, sampled or uniform, with its exact probability.

Arms: a control share of recipients (`events.hashing.in_control`) gets a slot drawn uniformly from
the window. Of the others' requests an explore share is decided by Thompson sampling: a rhythm is
drawn from the recipient's posterior and its best slot taken (a flat rhythm, or a never-opener, has
no best slot: uniform). The rest get the slot with the highest score, the earliest of equals.

A rhythm's best slot is a function of the rhythm, so the probability that Thompson sampling takes a
slot is a sum of posterior weights, exact and cheap::

    propensity(s) = control / n + (1 - control) * (explore * T(s) + (1 - explore) * [s is best])

with n the slots of the window and control, explore the shares. It treats the control group as drawn
anew for each request, which it is over recipients. With a control share above 0 it is never 0.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.events.hashing import mix
from sendtide.models.rhythm import DAY, LATE, SHAPES, TYPES, posterior

__all__ = ["choose", "unit"]

_CONTROL, _EXPLORE, _OPTIMISED = range(3)
"""Codes of `events.hashing.ARMS`."""
_FIRST: Final = np.uint64(0x9E3779B97F4A7C15)
_SMALL: Final = np.float32(1e-7)


@njit(cache=True)
def unit(key: Any) -> float:
    """A number in [0, 1), the same for the same 64-bit key."""
    return float(mix(key) >> np.uint64(11)) * 2.0**-53


@njit(cache=True)
def _thompson(weights: Any, hours: Any, factors: Any, curves: Any, out: Any) -> None:
    """Fill `out` (n,) with the probability that Thompson sampling takes each slot."""
    n, drawn = len(hours), 0.0
    out[:] = 0.0
    for t in range(TYPES):
        if t % SHAPES == 0 or weights[t] < _SMALL:
            continue
        best, highest = 0, -1.0
        for s in range(n):
            p = curves[t, hours[s] % DAY]
            odds = p / (1 - p) * factors[hours[s] // DAY]
            if odds > highest:
                best, highest = s, odds
        out[best] += weights[t]
        drawn += weights[t]
    rest = max(1.0 - drawn, 0.0) / n
    total = 0.0
    for s in range(n):
        out[s] += rest
        total += out[s]
    for s in range(n):
        out[s] /= total


@njit(cache=True)
def choose(
    evidence: Any,
    scores: Any,
    shares: Any,
    factors: Any,
    hours: Any,
    tables: Any,
    controlled: bool,
    control: float,
    explore: float,
    key: Any,
) -> Any:
    """Decide one request.

    evidence: (EVIDENCE,). scores: (168,). hours: (n,) hour of the week of each slot of the window,
    in order of time. controlled: the recipient is of the control group. key: hash of the request.

    Returns:
        (slot, probability of that slot under the policy, code of the arm).
    """
    n = len(hours)
    best = 0
    for s in range(n):
        if scores[hours[s]] > scores[hours[best]]:
            best = s
    thompson = np.zeros(n)
    if explore > 0.0:
        weights, late = np.empty(TYPES, np.float32), np.empty(LATE, np.float32)
        posterior(evidence, shares, tables, weights, late)
        _thompson(weights, hours, factors, tables[2], thompson)
    draw = unit(key ^ _FIRST)
    if controlled:
        slot, arm = min(int(draw * n), n - 1), _CONTROL
    elif unit(key) < explore:
        slot, arm = n - 1, _EXPLORE
        for s in range(n):
            draw -= thompson[s]
            if draw < 0:
                slot = s
                break
    else:
        slot, arm = best, _OPTIMISED
    probability = control / n + (1 - control) * explore * thompson[slot]
    if slot == best:
        probability += (1 - control) * (1 - explore)
    return slot, min(probability, 1.0), arm
