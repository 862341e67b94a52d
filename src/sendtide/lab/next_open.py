"""At which hour of the day a person opens next: predicted, then learned, open by open.

Experts answer side by side: the histogram of everybody, and personal ones that differ in how
strongly they are shrunk to it, whether older opens fade, and whether neighbouring hours share::

    p(h) = (c(h) + strength * everybody(h)) / (n + strength)

They are mixed by their likelihood so far (Bayes mixture; Vovk 1990, aggregating strategies), with
separate weights by how many opens of the person are known. Such a mixture loses at most ln(9) nats
to the best expert in each of these seven strata, over all rows together. Since everybody's
histogram is one of them, people without a rhythm cost nothing that grows with the data.

All opens of one moment are predicted before any of them is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["HourScore", "NextOpen", "machine_like", "next_open_hours"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_HOURS: Final = 24
_STRENGTHS: Final = (1.0, 8.0)
_FADES: Final = (1.0, 0.5 ** (1 / 30))
"""What is left of a person's older opens with each new one."""
_NEIGHBOURS: Final = (0.0, 0.25)
"""Share of an open that is counted at each hour beside its own."""
_EXPERTS: Final = 1 + len(_STRENGTHS) * len(_FADES) * len(_NEIGHBOURS)
_STRATA: Final = 7
_DAY_MS: Final = 86_400_000
_SECOND_MS: Final = 1_000
_HALF_DAY_MS: Final = _DAY_MS // 2

MANY_OPENS: Final = 20
"""Fewer say nothing about a machine."""
BURST_SHARE: Final = 0.2
A_DAY: Final = 24.0
REGULAR_SHARE: Final = 0.9
SCATTER_MS: Final = 60_000
EXACT_MS: Final = 2_000


@dataclass(frozen=True, slots=True)
class HourScore:
    """Shares of opens whose hour was the likeliest, among the three likeliest; nats an open."""

    hit1: float
    hit3: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class NextOpen:
    """Scores of the personal mixture and of everybody's histogram, on the same opens."""

    personal: HourScore
    everybody: HourScore
    opens: int


def machine_like(user: I64, time_ms: I64) -> I64:
    """Users whose opens no person makes, of at least 20 opens each; sorted codes.

    - bursts: a fifth of the intervals or more are below a second
    - volume: 24 opens or more on an average day with opens
    - regularity: nine in ten intervals within a minute of their median, which is below 12 hours;
      or, where times are finer than a minute, within 2 seconds of it however long it is

    Args:
        user: (n,) codes, in any order.
        time_ms: (n,) when each opened.
    """
    if not len(user):
        return np.zeros(0, np.int64)
    order = np.lexsort([time_ms, user])
    who, at = user[order], time_ms[order]
    fine = bool(np.any(at % 60_000 != 0))
    starts = np.flatnonzero(np.diff(who, prepend=who[:1] - 1))
    found = [
        int(mine_who)
        for mine_who, mine in zip(who[starts].tolist(), np.split(at, starts[1:]), strict=True)
        if len(mine) >= MANY_OPENS and _is_machine(mine, fine)
    ]
    return np.array(found, np.int64)


def _is_machine(at: I64, fine: bool) -> bool:
    """Whether one user's opens, in order, are a machine's."""
    apart = np.diff(at)
    if (apart < _SECOND_MS).mean() >= BURST_SHARE:
        return True
    if len(at) / len(np.unique(at // _DAY_MS)) >= A_DAY:
        return True
    usual = float(np.median(apart))
    scatter = np.abs(apart - usual)
    if usual < _HALF_DAY_MS and (scatter <= SCATTER_MS).mean() >= REGULAR_SHARE:
        return True
    return fine and bool((scatter <= EXACT_MS).mean() >= REGULAR_SHARE)


def next_open_hours(user: I64, time_ms: I64, hour: I64) -> NextOpen:
    """Predict and learn n opens in order of time.

    Args:
        user: (n,) codes.
        time_ms: (n,) not falling.
        hour: (n,) of the day, 0 to 23.

    Raises:
        ValueError: times fall somewhere.
    """
    if np.any(np.diff(time_ms) < 0):
        msg = "opens are not in order of time; sort them, or the future leaks in"
        raise ValueError(msg)
    distinct, row = np.unique(user, return_inverse=True)
    sums = _progressive(row.reshape(-1), time_ms, hour, len(distinct)) / max(len(user), 1)
    return NextOpen(HourScore(*sums[0].tolist()), HourScore(*sums[1].tolist()), len(user))


@njit(cache=True)
def _stratum(opens: float) -> int:
    return min(int(np.ceil(np.log2(opens + 1.0))), _STRATA - 1)


@njit(cache=True)
def _score(p: Any, hour: int, sums: Any) -> None:
    """Add to hit1, hit3 and log loss; of equal hours the earlier counts as likelier."""
    before = 0
    for h in range(_HOURS):
        before += p[h] > p[hour] or (p[h] == p[hour] and h < hour)
    sums[0] += before == 0
    sums[1] += before < 3
    sums[2] -= np.log(p[hour])


@njit(cache=True)
def _ask(everybody: Any, personal: Any, totals: Any, answers: Any) -> None:
    """Fill (experts, 24) with every expert's distribution."""
    answers[0] = everybody / everybody.sum()
    expert = 1
    for table in range(len(personal)):
        for strength in _STRENGTHS:
            for h in range(_HOURS):
                answers[expert, h] = (personal[table, h] + strength * answers[0, h]) / (
                    totals[table] + strength
                )
            expert += 1


@njit(cache=True)
def _learn(hour: int, everybody: Any, personal: Any, totals: Any) -> None:
    everybody[hour] += 1.0
    table = 0
    for fade in _FADES:
        for share in _NEIGHBOURS:
            personal[table] *= fade
            personal[table, hour] += 1.0 - 2.0 * share
            personal[table, (hour + 1) % _HOURS] += share
            personal[table, (hour - 1) % _HOURS] += share
            totals[table] = totals[table] * fade + 1.0
            table += 1


@njit(cache=True)
def _progressive(user: Any, time_ms: Any, hour: Any, users: int) -> Any:
    """Return ((2, 3) sums of hit1, hit3 and log loss of the mixture and of everybody's."""
    tables = len(_FADES) * len(_NEIGHBOURS)
    everybody = np.ones(_HOURS)
    personal, totals = np.zeros((users, tables, _HOURS)), np.zeros((users, tables))
    log_weights, answers = np.zeros((_STRATA, _EXPERTS)), np.empty((_EXPERTS, _HOURS))
    sums, mixed = np.zeros((2, 3)), np.empty(_HOURS)
    start = 0
    while start < len(user):
        end = start
        fresh = np.zeros((_STRATA, _EXPERTS))
        while end < len(user) and time_ms[end] == time_ms[start]:
            who, h = user[end], hour[end]
            stratum = _stratum(totals[who, 0])
            _ask(everybody, personal[who], totals[who], answers)
            weights = np.exp(log_weights[stratum] - log_weights[stratum].max())
            weights /= weights.sum()
            mixed[:] = 0.0
            for expert in range(_EXPERTS):
                mixed += weights[expert] * answers[expert]
                fresh[stratum, expert] += np.log(answers[expert, h])
            _score(mixed, h, sums[0])
            _score(answers[0], h, sums[1])
            end += 1
        log_weights += fresh
        for i in range(start, end):
            _learn(hour[i], everybody, personal[user[i]], totals[user[i]])
        start = end
    return sums
