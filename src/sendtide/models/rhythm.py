"""Rhythms: a population of daily curves, and which of them a recipient's few numbers speak for.

A message sent at local hour h is opened promptly (`events.rhythm`) with probability q(h), later
with probability `late` whatever the hour, or never. So a recipient's evidence is, by three-hour bin
of the day, how many messages were sent and how many of these were opened promptly, and one number:
how many were opened late.

q is one of a grid of curves, `logit q(h) = level + amplitude * exp(k * (cos(h - phase) - 1))` (the
bump is a von Mises density's shape), or that of a never-opener, a class of its own. `late` is one
of a few values. A population is described by how often levels, shapes and late values occur;
a recipient's posterior is the product of these and of Bernoulli likelihoods, summed over the grid.

Populations are learned by incremental expectation-maximisation (Neal and Hinton 1998, "A view of
the EM algorithm that justifies incremental, sparse, and other variants"): each label replaces its
recipient's posterior before it with the one after it in the population's expected counts.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.rhythm import BINS

__all__ = ["DAY", "LATE", "LEVELS", "POPULATION", "PRIOR", "SHAPES", "TABLES", "TYPES"]
__all__ += ["learn_populations", "log_shares", "posterior", "posterior_moments"]

DAY: Final = 24

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_LEVELS: Final = np.array([-4.6, -3.8, -3.0, -2.2, -1.5, -0.8, 0.2])
"""Logits of q away from the bump."""
_BUMPS: Final = ((1.5, 3.0), (3.0, 3.0), (4.5, 3.0))
"""Amplitude and concentration of each family of bumps."""
_LATE: Final = np.array([0.01, 0.03, 0.06, 0.12, 0.2, 0.32])
_NEVER: Final = 0.003
"""P(open) of a never-opener: a mistake, a tool that was not recognised."""

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
_TEMPER: Final = np.float32(0.7)
"""Power of the likelihood (Grünwald and van Ommen 2017, "Inconsistency of Bayesian inference for
misspecified linear models, and a proposal for repairing it"): no person is exactly of the grid,
rhythms drift, and an untempered posterior would be surer than it may be."""

LEVELS: Final = len(_LEVELS) + 1
"""The last one is the never-opener."""
SHAPES: Final = 1 + len(_BUMPS) * DAY
LATE: Final = len(_LATE)
TYPES: Final = len(_LEVELS) * SHAPES
POPULATION: Final = LEVELS + SHAPES + LATE
"""Length of a population: expected recipients by level, by shape, by late value."""


def _shapes() -> F64:
    """(SHAPES, 24): what each shape adds to a level, by hour of the day."""
    hours = np.arange(DAY) + 0.5
    rows = [np.zeros(DAY)]
    for amplitude, concentration in _BUMPS:
        for phase in hours:
            angle = (hours - phase) * (2 * np.pi / DAY)
            rows.append(amplitude * np.exp(concentration * (np.cos(angle) - 1)))
    return np.array(rows)


def _tables() -> tuple[F32, F32, F32, F32, F32, F32]:
    curves = 1 / (1 + np.exp(-(_LEVELS[:, None, None] + _shapes())))
    curves = curves.reshape(-1, DAY)
    binned = curves.reshape(len(curves), BINS, -1).mean(axis=2).T
    late = np.stack([np.log(_LATE), np.log1p(-_LATE), _LATE])
    return tuple(  # type: ignore[return-value]
        np.ascontiguousarray(table, np.float32)
        for table in (
            np.log(binned) - np.log1p(-binned),
            np.log1p(-binned),
            curves,
            late,
            np.array([np.log(_NEVER), np.log1p(-_NEVER), _NEVER]),
            np.concatenate([1 - curves, (1 - curves) ** 2], axis=1),
        )
    )


TABLES: Final = _tables()
"""Logits and log(1 - q) by (bin, type); q by (type, hour); late values and a never-opener's
probability with their logarithms; 1 - q and its square by (type, 2 x hour). Types are levels times
shapes, never-openers left out."""


def _prior() -> F64:
    level = np.array([0.08, 0.12, 0.16, 0.18, 0.14, 0.08, 0.04, 0.2])
    shape = np.concatenate([[0.2], np.full(SHAPES - 1, 0.8 / (SHAPES - 1))])
    late = np.array([0.2, 0.25, 0.2, 0.17, 0.12, 0.06])
    return np.concatenate([level, shape, late])


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
def posterior(evidence: Any, population: Any, tables: Any, weights: Any, late: Any) -> Any:
    """Fill `weights` (levels x shapes,) and `late` (LATE,); return P(never-opener).

    evidence: (EVIDENCE,) counts, not necessarily whole. population: (POPULATION,) logarithms of
    shares. `weights` sum to 1 - P(never-opener), `late` to 1.
    """
    logits, refusals, _, late_tables, never, _ = tables
    types, sends, prompt = len(weights), np.float32(0), np.float32(0)
    for level in range(LEVELS - 1):
        for shape in range(SHAPES):
            weights[level * SHAPES + shape] = population[level] + population[LEVELS + shape]
    for b in range(BINS):
        sent, opened = _TEMPER * evidence[b], _TEMPER * evidence[BINS + b]
        if sent > 0 or opened > 0:
            sends += sent
            prompt += opened
            for t in range(types):
                weights[t] += opened * logits[b, t] + sent * refusals[b, t]
    lately = _TEMPER * evidence[2 * BINS]
    missed = max(sends - prompt - lately, np.float32(0))
    top = np.float32(-1e30)
    for j in range(LATE):
        late[j] = population[LEVELS + SHAPES + j]
        late[j] += lately * late_tables[0, j] + missed * late_tables[1, j]
        top = max(top, late[j])
    total = np.float32(0)
    for j in range(LATE):
        late[j] = np.exp(late[j] - top)
        total += late[j]
    for j in range(LATE):
        late[j] /= total
    some = top + np.log(total)
    none = population[LEVELS - 1] + (prompt + lately) * never[0]
    none += max(sends - prompt - lately, np.float32(0)) * never[1] - some
    top = none
    for t in range(types):
        top = max(top, weights[t])
    never_share = np.exp(none - top)
    total = never_share + _exponentials(weights, top)
    for t in range(types):
        weights[t] /= total
    return never_share / total


@njit(cache=True, fastmath=True)
def posterior_moments(
    weights: Any, late: Any, never: Any, tables: Any, mean: Any, square: Any
) -> None:
    """Fill (24,) mean and mean square of P(not opened | sent in that hour)."""
    late_tables, never_tables, misses = tables[3], tables[4], tables[5]
    sums = np.zeros(2 * DAY, np.float32)
    for t in range(len(weights)):
        weight = weights[t]
        if weight > np.float32(0):
            for j in range(2 * DAY):
                sums[j] += weight * misses[t, j]
    mean[:], square[:] = sums[:DAY], sums[DAY:]
    kept, kept_square = np.float32(0), np.float32(0)
    for j in range(LATE):
        miss = np.float32(1) - late_tables[2, j]
        kept += late[j] * miss
        kept_square += late[j] * miss * miss
    miss = np.float32(1) - never_tables[2]
    for h in range(DAY):
        mean[h] = mean[h] * kept + never * miss
        square[h] = square[h] * kept_square + never * miss * miss


@njit(cache=True)
def _add_posterior(sums: Any, weights: Any, late: Any, never: Any, factor: Any) -> None:
    """Add a recipient's posterior, times `factor`, to a population's expected counts."""
    for level in range(LEVELS - 1):
        for shape in range(SHAPES):
            share = factor * weights[level * SHAPES + shape]
            sums[level] += share
            sums[LEVELS + shape] += share
    sums[LEVELS - 1] += factor * never
    for j in range(LATE):
        sums[LEVELS + SHAPES + j] += factor * late[j] * (1 - never)


@njit(cache=True)
def log_shares(counts: Any, parent: Any, strength: Any, out: Any) -> None:
    """Fill `out` (POPULATION,) with logarithms of shares: counts plus `strength` of `parent`."""
    first = 0
    for size in (LEVELS, SHAPES, LATE):
        total = 0.0
        for i in range(first, first + size):
            total += max(counts[i], 0.0) + strength * parent[i]
        for i in range(first, first + size):
            out[i] = np.log((max(counts[i], 0.0) + strength * parent[i]) / total)
        first += size


@njit(cache=True)
def learn_populations(
    rows: Any,
    factors: Any,
    before: Any,
    after: Any,
    prior: Any,
    strength: float,
    tables: Any,
    populations: Any,
) -> None:
    """Let n labels teach (m, POPULATION) expected counts.

    before, after: (n, EVIDENCE) of each label's recipient without and with it. factors: (n,) how
    many labels each stands for.
    """
    weights = np.empty(TYPES, np.float32)
    late, shares = np.empty(LATE, np.float32), np.empty(POPULATION, np.float32)
    for i in range(len(rows)):
        counts = populations[rows[i]]
        log_shares(counts, prior, strength, shares)
        fresh = True
        for b in range(BINS):
            fresh = fresh and before[i, b] == 0
        if not fresh:
            never = posterior(before[i], shares, tables, weights, late)
            _add_posterior(counts, weights, late, never, -factors[i])
        never = posterior(after[i], shares, tables, weights, late)
        _add_posterior(counts, weights, late, never, factors[i])
