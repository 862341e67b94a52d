"""A grid of daily curves that a rhythm may be, and what scoring needs of each, computed once.

A curve is a rate of opens by hour of the day: flat, or a bump (a von Mises density's shape) about
one of 24 phases::

    log rate(h) = level + amplitude * exp(concentration * (cos(h - phase) - 1))

Types are levels times shapes: the flat shape, then each bump with its phases. A rate that is not
capped is that of its level times that of its shape, which spares most of a large table.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sendtide.events.rhythm import BIN_HOURS, BINS, FRESHNESS, FRESHNESS_STEPS

__all__ = ["CURVES", "DAY", "LEVELS", "SHAPES", "TABLES", "TYPES", "Tables"]

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

LEVELS: Final = len(_LEVELS) + 1
"""The last one is the never-opener."""
SHAPES: Final = 1 + len(_BUMPS) * DAY
TYPES: Final = len(_LEVELS) * SHAPES


class Tables(NamedTuple):
    """What compiled loops read; float32, never-openers apart from the types.

    Attributes:
        presence: (BINS, TYPES) log-likelihood of an open in a bin.
        level_rates, shape_rates: (levels,), (BINS, SHAPES): the log-likelihood of an hour's
            waiting in a bin is minus their product, where no rate is capped.
        capped: (n,) int64, types of which a rate is capped.
        excess: (BINS, n) what their log-likelihoods of an hour's waiting are more than that.
        missed: (48, TYPES) P(not opened) by the hour of the day of the send, then its square.
        never: (3,) the never-opener's log-likelihoods of an open and of an hour's waiting, and
            P(not opened).
    """

    presence: F32
    level_rates: F32
    shape_rates: F32
    capped: NDArray[np.int64]
    excess: F32
    missed: F32
    never: F32


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


def _rates() -> F64:
    """(levels, SHAPES, 24) rates without the cap."""
    return np.asarray(np.exp(_LEVELS[:, None, None] + _shapes()))


def _binned(by_hour: F64) -> F64:
    """(..., 24) as means by bin."""
    return np.asarray(by_hour.reshape(*by_hour.shape[:-1], BINS, BIN_HOURS).mean(axis=-1))


def _tables(curves: F32) -> Tables:
    free, binned = (
        _binned(rates).reshape(TYPES, BINS).T for rates in (_rates(), np.minimum(_rates(), _MOST))
    )
    capped = np.flatnonzero((free > binned).any(axis=0))
    missed = 1 - curves.T.astype(np.float64)
    never = np.log(-np.expm1(-_NEVER)), -_NEVER, 1 - _chances(np.full(DAY, _NEVER))[0]

    def table(values: Any) -> F32:
        return np.ascontiguousarray(values, np.float32)

    return Tables(
        presence=table(np.log(-np.expm1(-binned))),
        level_rates=table(np.exp(_LEVELS)),
        shape_rates=table(_binned(np.exp(_shapes())).T),
        capped=capped,
        excess=table((free - binned)[:, capped]),
        missed=table(np.concatenate([missed, missed**2])),
        never=table(never),
    )


CURVES: Final = _chances(np.minimum(_rates(), _MOST)).reshape(TYPES, DAY).astype(np.float32)
"""(TYPES, 24) P(open) of a message, by the hour of the day in which it is sent."""
TABLES: Final = _tables(CURVES)
