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
from numpy.typing import NDArray

from sendtide.events.hashing import mix
from sendtide.models.curves import CURVES, DAY, SHAPES, TYPES
from sendtide.models.rhythm import posterior

__all__ = ["ODDS", "choose", "unit"]

_CONTROL, _EXPLORE, _OPTIMISED = range(3)
"""Codes of `events.hashing.ARMS`."""
_FIRST: Final = np.uint64(0x9E3779B97F4A7C15)
_SMALL: Final = np.float32(1e-7)


def _odds() -> NDArray[np.float64]:
    curves = CURVES.T.astype(np.float64)
    return np.ascontiguousarray(curves / (1 - curves))


ODDS: Final = _odds()
"""(24, TYPES) odds of an open, by hour of the day of the send."""


@njit(cache=True)
def unit(key: Any) -> float:
    """A number in [0, 1), the same for the same 64-bit key."""
    return float(mix(key) >> np.uint64(11)) * 2.0**-53


@njit(cache=True)
def _best_slots(hours: Any, factors: Any, odds: Any, highest: Any, best: Any) -> None:
    """Fill `best` (TYPES,) with the slot at which each rhythm is highest, the first of equals."""
    highest[:], best[:] = -1.0, 0
    for s in range(len(hours)):
        column, factor = odds[hours[s] % DAY], np.float64(factors[hours[s] // DAY])
        for t in range(TYPES):  # without a branch, so that several types are compared at once
            value = column[t] * factor
            better = value > highest[t]
            highest[t] = value if better else highest[t]
            best[t] = s if better else best[t]


@njit(cache=True)
def _thompson(weights: Any, best: Any, out: Any) -> None:
    """Fill `out` (n,) with the probability that Thompson sampling takes each slot."""
    n, drawn = len(out), 0.0
    out[:] = 0.0
    for t in range(TYPES):
        if t % SHAPES == 0 or weights[t] < _SMALL:
            continue
        out[best[t]] += weights[t]
        drawn += weights[t]
    rest = max(1.0 - drawn, 0.0) / n
    total = 0.0
    for s in range(n):
        out[s] += rest
        total += out[s]
    for s in range(n):
        out[s] /= total


@njit(cache=True)
def _choose(
    scores: Any,
    hours: Any,
    thompson: Any,
    controlled: bool,
    control: float,
    explore: float,
    key: Any,
) -> Any:
    """Decide one request: (slot, probability of that slot under the policy, code of the arm)."""
    n = len(hours)
    best = 0
    for s in range(n):
        if scores[hours[s]] > scores[hours[best]]:
            best = s
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


@njit(cache=True)
def _likes_together(evidence: Any, rows: Any, hours: Any, starts: Any) -> Any:
    """Order of the requests by population, window, and whether anything is known.

    A campaign's requests have few different windows, and strangers of a population in the same
    window have the same chances: what was found for one is used for the next.
    """
    keys = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        window = hours[starts[i]] * np.int64(256) + starts[i + 1] - starts[i]
        keys[i] = (rows[i] << 17) + (window << 1) + np.int64(evidence[i].any())
    return np.argsort(keys, kind="mergesort")


@njit(cache=True, nogil=True)
def choose(
    evidence: Any,
    scores: Any,
    rows: Any,
    populations: tuple[Any, Any],
    windows: tuple[Any, Any],
    tables: Any,
    odds: Any,
    controlled: Any,
    shares: tuple[float, float],
    keys: Any,
) -> Any:
    """Decide n requests.

    evidence: (n, EVIDENCE). scores: (n, 168). rows: (n,) of the populations: logarithms of shares
    (m, POPULATION), factors (m, 7). windows: hour of the week of all slots, request after request
    and in order of time, and (n + 1,) where each one's begin. odds: ODDS. controlled: (n,) whether
    a recipient is of the control group. shares: of control, of exploring. keys: (n,) hashes of the
    requests.

    Returns:
        (slots, probabilities of those slots under the policy, codes of the arms), each (n,).
    """
    logs, factors = populations
    hours, starts = windows
    n = len(rows)
    slots, told, arms = np.empty(n, np.int64), np.empty(n), np.empty(n, np.uint8)
    weights = np.empty(TYPES, np.float32)
    highest, best = np.empty(TYPES), np.empty(TYPES, np.int64)
    before, stranger = np.int64(-1), np.int64(-1)
    thompson = np.zeros(0)
    for i in _likes_together(evidence, rows, hours, starts):
        window = hours[starts[i] : starts[i + 1]]
        if shares[1] > 0.0:
            same = before >= 0 and rows[i] == rows[before]
            same = same and np.array_equal(window, hours[starts[before] : starts[before + 1]])
            known = evidence[i].any()
            if not same:
                _best_slots(window, factors[rows[i]], odds, highest, best)
                before, stranger = i, np.int64(-1)
            if known or stranger < 0:
                thompson = np.empty(len(window))
                posterior(evidence[i], logs[rows[i]], tables, weights)
                _thompson(weights, best, thompson)
                stranger = np.int64(-1) if known else i
        elif len(thompson) < len(window):
            thompson = np.zeros(len(window))
        slots[i], told[i], arms[i] = _choose(
            scores[i], window, thompson, controlled[i], shares[0], shares[1], keys[i]
        )
    return slots, told, arms
