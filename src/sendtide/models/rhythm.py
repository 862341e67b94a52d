"""Rhythms: a population of daily curves, and which of them a recipient's few numbers speak for.

Time to open is a survival time. A message that came in local hour h and is not yet open after `a`
hours is opened in the next one with probability `1 - exp(-rate(h + a) * freshness(a))`, where rate
is the recipient's presence by hour of the day and freshness, known, how visible it still is
(`events.rhythm`). A recipient's evidence is, by bin of the day, for how long mail waited and how
often it was opened, so its likelihood is that of exposures and events, whatever the sender's habit
(Holford 1980, "The analysis of rates and of survivorship using log-linear models")::

    sum over bins of opens(b) * log(1 - exp(-rate(b))) - waiting(b) * rate(b)

and `q(h) = 1 - exp(-sum over a of rate(h + a) * freshness(a))` is P(open) of a message sent at h.

rate is one of a grid of curves, `log rate(h) = level + amplitude * exp(k * (cos(h - phase) - 1))`
(the bump is a von Mises density's shape), or that of a never-opener, a class of its own. A
population is described by how often levels and shapes occur; a recipient's posterior is the
product of these and of the likelihood, summed over the grid.

Populations are learned by incremental expectation-maximisation (Neal and Hinton 1998, "A view of
the EM algorithm that justifies incremental, sparse, and other variants"): each label replaces its
recipient's posterior before it with the one after it in the population's expected counts.

What the family of curves gets wrong for a whole population (mail that sinks faster than assumed,
a season) is made good by a correction of all log-odds, a random walk that a Kalman filter follows
from what was told of each label before it (`_correct`); see `platt` for the same in two numbers.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.rhythm import BINS, FRESHNESS, FRESHNESS_STEPS

__all__ = ["DAY", "LEVELS", "MISFIT", "POPULATION", "PRIOR", "SHAPES", "TABLES", "TYPES"]
__all__ += ["learn_populations", "log_shares", "posterior", "posterior_moments"]

DAY: Final = 24

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_LEVELS: Final = np.array([-6.5, -5.5, -4.6, -3.8, -3.0, -2.2, -1.4, -0.6])
"""Logarithms of the rate away from the bump, an hour."""
_BUMPS: Final = ((1.5, 3.0), (3.0, 3.0), (4.5, 3.0))
"""Amplitude and concentration of each family of bumps."""
_MOST: Final = 2.5
"""Highest rate: nine in ten messages opened within the hour."""
_NEVER: Final = 0.0015
"""Rate of a never-opener: a mistake, a tool that was not recognised."""

_NEGLIGIBLE: Final = np.float32(-8)
"""Logarithm of a weight, relative to the largest, below which a type is left out."""
_LOG2_E: Final = np.float32(1.4426950408889634)
_EXP2: Final = np.array(
    [
        0.999999895763,
        0.693154620003,
        0.240140770092,
        0.055863282659,
        0.008946214666,
        0.001895107291,
    ],
    np.float32,
)
"""Polynomial of 2 ** f on [0, 1): a Chebyshev fit of degree 5, relative error below 3e-7."""
MISFIT: Final = np.float32(0.7)
"""Deviation of a person's logits from the nearest curve of the grid: no person is exactly of it
(two habits, weekends, drift), and the posterior over curves alone would be surer than it may be."""

_PRECISION: Final = 4.0
"""Of a correction before any label: about +-1 is thought likely."""
_WALK: Final = 2e-6
"""Added to its variance with every label: it forgets what is some thousands of labels old."""
_LEAST: Final = 1e-3

LEVELS: Final = len(_LEVELS) + 1
"""The last one is the never-opener."""
SHAPES: Final = 1 + len(_BUMPS) * DAY
TYPES: Final = len(_LEVELS) * SHAPES
POPULATION: Final = LEVELS + SHAPES
"""Length of a population: expected recipients by level, by shape."""


def _shapes() -> F64:
    """(SHAPES, 24): what each shape adds to a level, by hour of the day."""
    hours = np.arange(DAY) + 0.5
    rows = [np.zeros(DAY)]
    for amplitude, concentration in _BUMPS:
        for phase in hours:
            angle = (hours - phase) * (2 * np.pi / DAY)
            rows.append(amplitude * np.exp(concentration * (np.cos(angle) - 1)))
    return np.array(rows)


def _chances(rates: F64) -> F64:
    """P(open) of a message sent in each hour, (..., 24), of rates by hour."""
    freshness = FRESHNESS / FRESHNESS_STEPS
    hazards = [fresh * np.roll(rates, -age, axis=-1) for age, fresh in enumerate(freshness)]
    return np.asarray(-np.expm1(-np.sum(hazards, axis=0)))


def _tables() -> tuple[F32, F32, F32, F32, F32]:
    rates = np.minimum(np.exp(_LEVELS[:, None, None] + _shapes()), _MOST).reshape(-1, DAY)
    binned = rates.reshape(len(rates), BINS, -1).mean(axis=2).T
    curves, never = _chances(rates), float(_chances(np.full(DAY, _NEVER))[0])
    return tuple(  # type: ignore[return-value]
        np.ascontiguousarray(table, np.float32)
        for table in (
            np.log(-np.expm1(-binned)),
            -binned,
            curves,
            np.array([np.log(-np.expm1(-_NEVER)), -_NEVER, 1 - never]),
            np.concatenate([1 - curves, (1 - curves) ** 2], axis=1),
        )
    )


TABLES: Final = _tables()
"""Log-likelihoods of an open and of an hour's waiting by (bin, type); q by (type, hour); a
never-opener's two log-likelihoods and 1 - q; 1 - q and its square by (type, 2 x hour). Types are
levels times shapes, never-openers left out."""


def _prior() -> F64:
    level = np.array([0.1, 0.12, 0.15, 0.16, 0.13, 0.08, 0.04, 0.02, 0.2])
    shape = np.concatenate([[0.2], np.full(SHAPES - 1, 0.8 / (SHAPES - 1))])
    return np.concatenate([level, shape])


PRIOR: Final = _prior()
"""Shares assumed of a population nothing is known of."""


@njit(cache=True, fastmath=True)
def _exponentials(logs: Any, top: Any) -> Any:
    """Replace float32 logs by exp(log - top), all at once; return their sum.

    exp(x) = 2 ** n * 2 ** f with n = floor(x / log 2): the exponent bits are written as an integer,
    2 ** f is a polynomial. A library's exp, called for one number after another, took most of the
    time of a score.
    """
    powers = np.empty(len(logs), np.int32)
    for t in range(len(logs)):
        x = max((logs[t] - top) * _LOG2_E, np.float32(-100.0))
        whole = np.floor(x)
        f = x - whole
        powers[t] = (np.int32(whole) + np.int32(127)) << np.int32(23)
        series = _EXP2[5]
        for j in range(4, -1, -1):
            series = series * f + _EXP2[j]
        logs[t] = series if x > _NEGLIGIBLE * _LOG2_E else np.float32(0)
    scales = powers.view(np.float32)
    total = np.float32(0)
    for t in range(len(logs)):
        logs[t] *= scales[t]
        total += logs[t]
    return total


@njit(cache=True, fastmath=True)
def posterior(evidence: Any, population: Any, tables: Any, weights: Any) -> Any:
    """Fill `weights` (levels x shapes,); return P(never-opener).

    evidence: (EVIDENCE,) counts, not necessarily whole. population: (POPULATION,) logarithms of
    shares. `weights` sum to 1 - P(never-opener).
    """
    presence, absence, _, never, _ = tables
    types = len(weights)
    for level in range(LEVELS - 1):
        for shape in range(SHAPES):
            weights[level * SHAPES + shape] = population[level] + population[LEVELS + shape]
    none = population[LEVELS - 1]
    for b in range(BINS):
        waited, opened = evidence[b], evidence[BINS + b]
        none += opened * never[0] + waited * never[1]
        if opened > 0:
            for t in range(types):
                weights[t] += opened * presence[b, t] + waited * absence[b, t]
        elif waited > 0:  # most bins of most people: half of the tables need not be read
            for t in range(types):
                weights[t] += waited * absence[b, t]
    top = none
    for t in range(types):
        top = max(top, weights[t])
    never_share = np.exp(none - top)
    total = never_share + _exponentials(weights, top)
    for t in range(types):
        weights[t] /= total
    return never_share / total


@njit(cache=True, fastmath=True)
def posterior_moments(weights: Any, never: Any, tables: Any, mean: Any, square: Any) -> None:
    """Fill (24,) mean and mean square of P(not opened | sent in that hour)."""
    never_miss, misses = tables[3][2], tables[4]
    sums = np.zeros(2 * DAY, np.float32)
    for t in range(len(weights)):
        weight = weights[t]
        if weight > np.float32(0):
            for j in range(2 * DAY):
                sums[j] += weight * misses[t, j]
    for h in range(DAY):
        mean[h] = sums[h] + never * never_miss
        square[h] = sums[DAY + h] + never * never_miss * never_miss


@njit(cache=True)
def _add_posterior(sums: Any, weights: Any, never: Any, factor: Any) -> None:
    """Add a recipient's posterior, times `factor`, to a population's expected counts."""
    for level in range(LEVELS - 1):
        for shape in range(SHAPES):
            share = factor * weights[level * SHAPES + shape]
            sums[level] += share
            sums[LEVELS + shape] += share
    sums[LEVELS - 1] += factor * never


@njit(cache=True)
def log_shares(counts: Any, parent: Any, strength: Any, out: Any) -> None:
    """Fill `out` (POPULATION,) with logarithms of shares: counts plus `strength` of `parent`."""
    first = 0
    for size in (LEVELS, SHAPES):
        total = 0.0
        for i in range(first, first + size):
            total += max(counts[i], 0.0) + strength * parent[i]
        for i in range(first, first + size):
            out[i] = np.log((max(counts[i], 0.0) + strength * parent[i]) / total)
        first += size


@njit(cache=True)
def _correct(correction: Any, missed: Any, opened: Any) -> None:
    """Learn one label. correction: offset of the log-odds and how sure it is, as added precision.

    missed: P(not opened) as told of the label before it, without the correction.
    """
    offset, variance = correction[0], 1.0 / (_PRECISION + correction[1]) + _WALK
    odds = (1.0 - missed) / missed * np.exp(offset)
    p = odds / (1.0 + odds)
    gain = variance / (1.0 + max(p * (1.0 - p), _LEAST) * variance)
    correction[0] = offset + gain * (opened - p)
    correction[1] = max(1.0 / gain - _PRECISION, 0.0)


@njit(cache=True)
def _missed(weights: Any, never: Any, hour: int, misses: Any, never_miss: Any) -> Any:
    """P(not opened | sent in that hour of the day)."""
    total = np.float64(never * never_miss)
    for t in range(len(weights)):
        total += weights[t] * misses[t, hour]
    return min(max(total, _LEAST), 1.0 - _LEAST)


@njit(cache=True)
def learn_populations(
    rows: Any,
    factors: Any,
    before: Any,
    after: Any,
    hours: Any,
    opened: Any,
    prior: Any,
    strength: float,
    tables: Any,
    populations: Any,
    corrections: Any,
) -> None:
    """Let n labels teach (m, POPULATION) expected counts, and (m, 2) corrections.

    before, after: (n, EVIDENCE) of each label's recipient without and with it. hours, opened: of
    the labels' sends. factors: (n,) how many labels each stands for.
    """
    weights, shares = np.empty(TYPES, np.float32), np.empty(POPULATION, np.float32)
    for i in range(len(rows)):
        counts = populations[rows[i]]
        log_shares(counts, prior, strength, shares)
        never = posterior(before[i], shares, tables, weights)
        missed = _missed(weights, never, hours[i] % DAY, tables[4], tables[3][2])
        _correct(corrections[rows[i]], missed, opened[i])
        if before[i, 2 * BINS] > 0:
            _add_posterior(counts, weights, never, -factors[i])
        never = posterior(after[i], shares, tables, weights)
        _add_posterior(counts, weights, never, factors[i])
