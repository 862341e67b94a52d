"""Rhythms: a population of daily curves, and which of them a recipient's few numbers speak for.

Time to open is a survival time. A message that came in local hour h and is not yet open after `a`
hours is opened in the next one with probability `1 - exp(-rate(h + a) * freshness(a))`, where rate
is the recipient's presence by hour of the day and freshness, known, how visible it still is
(`events.rhythm`). A recipient's evidence is, by bin of the day, for how long mail waited and how
often it was opened, so its likelihood is that of exposures and events, whatever the sender's habit
(Holford 1980, "The analysis of rates and of survivorship using log-linear models")::

    sum over bins of opens(b) * log(1 - exp(-rate(b))) - waiting(b) * rate(b)

and `q(h) = 1 - exp(-sum over a of rate(h + a) * freshness(a))` is P(open) of a message sent at h.

rate is one of a grid of curves (`curves`), or that of a never-opener, a class of its own. A
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

from sendtide.events.rhythm import BINS
from sendtide.models.curves import DAY, LEVELS, SHAPES, TYPES

__all__ = ["AT_ONCE", "MISFIT", "POPULATION", "PRIOR"]
__all__ += ["learn_populations", "log_shares", "posterior", "posterior_moments"]

F64 = NDArray[np.float64]

_NEGLIGIBLE: Final = np.float32(-8)
"""Logarithm of a weight, relative to the largest, below which a type is left out."""
_LOG2_E: Final = np.float32(1.4426950408889634)
_C0, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(coefficient)
    for coefficient in (
        *(0.999999895763, 0.693154620003, 0.240140770092),
        *(0.055863282659, 0.008946214666, 0.001895107291),
    )
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

AT_ONCE: Final = 4
"""Recipients of whom moments are summed together."""
POPULATION: Final = LEVELS + SHAPES
"""Length of a population: expected recipients by level, by shape."""


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
        series = ((((_C5 * f + _C4) * f + _C3) * f + _C2) * f + _C1) * f + _C0
        logs[t] = series if x > _NEGLIGIBLE * _LOG2_E else np.float32(0)
    scales = powers.view(np.float32)
    total = np.float32(0)
    for t in range(len(logs)):
        logs[t] *= scales[t]
        total += logs[t]
    return total


@njit(cache=True, fastmath=True)
def _log_weights(evidence: Any, population: Any, tables: Any, weights: Any) -> Any:
    """Fill `weights` (TYPES,) with logarithms, up to a constant; return the never-opener's.

    Bins are taken four at a time, so that sums are read and written less often.
    """
    presence, never = tables.presence, tables.never
    level_rates, shape_rates = tables.level_rates, tables.shape_rates
    capped, excess = tables.capped, tables.excess
    none = population[LEVELS - 1]
    waited = np.zeros(SHAPES, np.float32)  # hours, each times the shape's rate
    spared = np.zeros(len(capped), np.float32)
    for b in range(0, BINS, 4):
        w0, w1, w2, w3 = evidence[b], evidence[b + 1], evidence[b + 2], evidence[b + 3]
        none += (w0 + w1 + w2 + w3) * never[1]
        for shape in range(SHAPES):
            early = w0 * shape_rates[b, shape] + w1 * shape_rates[b + 1, shape]
            late = w2 * shape_rates[b + 2, shape] + w3 * shape_rates[b + 3, shape]
            waited[shape] += early + late
        for c in range(len(capped)):
            early = w0 * excess[b, c] + w1 * excess[b + 1, c]
            spared[c] += early + w2 * excess[b + 2, c] + w3 * excess[b + 3, c]
    for level in range(LEVELS - 1):
        base, rate = population[level], level_rates[level]
        for shape in range(SHAPES):
            share = base + population[LEVELS + shape]
            weights[level * SHAPES + shape] = share - rate * waited[shape]
    for c in range(len(capped)):
        weights[capped[c]] += spared[c]
    for b in range(BINS):
        opened = evidence[BINS + b]
        none += opened * never[0]
        if opened > 0:
            for t in range(TYPES):
                weights[t] += opened * presence[b, t]
    return none


@njit(cache=True, fastmath=True)
def _highest(values: Any) -> Any:
    """Largest of (TYPES,) numbers: of four parts at once, since each step waits for the last."""
    part = TYPES // 4
    a, b, c, d = values[0], values[0], values[0], values[0]
    for t in range(part):
        a, b = max(a, values[t]), max(b, values[part + t])
        c, d = max(c, values[2 * part + t]), max(d, values[3 * part + t])
    return max(max(a, b), max(c, d))


@njit(cache=True, fastmath=True)
def posterior(evidence: Any, population: Any, tables: Any, weights: Any) -> Any:
    """Fill `weights` (levels x shapes,); return P(never-opener).

    evidence: (EVIDENCE,) counts, not necessarily whole. population: (POPULATION,) logarithms of
    shares. `weights` sum to 1 - P(never-opener).
    """
    none = _log_weights(evidence, population, tables, weights)
    top = max(none, _highest(weights))
    never_share = np.exp(none - top)
    scale = np.float32(1) / (_exponentials(weights, top) + never_share)
    for t in range(TYPES):
        weights[t] *= scale
    return never_share * scale


@njit(cache=True, fastmath=True)
def posterior_moments(weights: Any, nevers: Any, tables: Any, moments: Any) -> None:
    """Fill (AT_ONCE, 48): mean by hour and mean square of P(not opened | sent in that hour).

    weights, nevers: of AT_ONCE recipients, as `posterior` gives them. Each number of the table is
    read once for all of them, two rows at a time: reading it took longer than the sums.
    """
    missed, never_missed = tables.missed, tables.never[2]
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for j in range(0, 2 * DAY, 2):
        first, second = missed[j], missed[j + 1]
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.float32(0)
        for t in range(TYPES):
            a0 += w0[t] * first[t]
            b0 += w0[t] * second[t]
            a1 += w1[t] * first[t]
            b1 += w1[t] * second[t]
            a2 += w2[t] * first[t]
            b2 += w2[t] * second[t]
            a3 += w3[t] * first[t]
            b3 += w3[t] * second[t]
        moments[0, j], moments[1, j], moments[2, j], moments[3, j] = a0, a1, a2, a3
        moments[0, j + 1], moments[1, j + 1], moments[2, j + 1], moments[3, j + 1] = b0, b1, b2, b3
    for i in range(AT_ONCE):
        share = nevers[i] * never_missed
        for h in range(DAY):
            moments[i, h] += share
            moments[i, DAY + h] += share * never_missed


@njit(cache=True, fastmath=True)
def _add_posterior(sums: Any, weights: Any, never: Any, factor: Any) -> None:
    """Add a recipient's posterior, times `factor`, to a population's expected counts."""
    for level in range(LEVELS - 1):
        total = 0.0
        for shape in range(SHAPES):
            share = factor * weights[level * SHAPES + shape]
            total += share
            sums[LEVELS + shape] += share
        sums[level] += total
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


@njit(cache=True, fastmath=True)
def _missed(weights: Any, never: Any, hour: int, tables: Any) -> Any:
    """P(not opened | sent in that hour of the day)."""
    misses = tables.missed[hour]
    total = np.float64(never * tables.never[2])
    for t in range(TYPES):
        total += weights[t] * misses[t]
    return min(max(total, _LEAST), 1.0 - _LEAST)


@njit(cache=True, nogil=True)
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
        missed = _missed(weights, never, hours[i] % DAY, tables)
        _correct(corrections[rows[i]], missed, opened[i])
        if before[i, 2 * BINS] > 0:
            _add_posterior(counts, weights, never, -factors[i])
        never = posterior(after[i], shares, tables, weights)
        _add_posterior(counts, weights, never, factors[i])
