"""Best hour to send: opens per send by hour of the week, each level shrunk to the one above.

For a table of exposures E and opens O by hour of the week (168 cells, circularly smoothed over the
neighbouring hours with weights 1/4, 1/2, 1/4), the rate at a level is the posterior mean of a
Beta prior centred on the level above, with `strength` pseudo-sends::

    rate(h) = (O(h) + strength * parent(h)) / (E(h) + strength)

from all clients (whose parent is one flat rate) to client to segment. A recipient has counts by
local hour of the day only (24 cells); they scale the parent's curve by a level and a shape, each
the posterior mean of a Gamma(s, s) prior on a Poisson rate (Gelman et al., Bayesian Data Analysis,
2.6)::

    level    = (s + sum O) / (s + sum E q)            q(d): parent's mean rate at hour d of the day
    shape(d) = (s + O(d)) / (s + E(d) q(d) level)
    score(h) = min(1, parent(h) * level * shape(h mod 24))

Exposures are in every denominator: an hour at which much is sent does not look good for that.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from river import base

__all__ = ["HOURS", "PRIOR_RATE", "SendTime", "add_counts", "score_recipients", "shrunk_rates"]

HOURS: Final = 168
DAY: Final = 24
PRIOR_RATE: Final = 0.2
"""Open rate assumed before any is seen."""
PRIOR_STRENGTH: Final = 8.0
RECIPIENT_STRENGTH: Final = 1.0
"""Pseudo-opens behind a recipient's level and each hour's shape."""

F64 = NDArray[np.float64]


@njit(cache=True)
def add_counts(rows: Any, hours: Any, opened: Any, exposures: Any, opens: Any) -> None:
    """Add labelled sends to (m, 168) int64 tables: row, hour of the week, opened or not."""
    for i in range(len(rows)):
        exposures[rows[i], hours[i]] += 1
        opens[rows[i], hours[i]] += opened[i]


def _smoothed(table: F64) -> F64:
    return np.asarray(
        0.5 * table + 0.25 * (np.roll(table, 1, axis=-1) + np.roll(table, -1, axis=-1))
    )


def shrunk_rates(
    exposures: NDArray[np.integer[Any]],
    opens: NDArray[np.integer[Any]],
    parent: F64,
    strength: float = PRIOR_STRENGTH,
) -> F64:
    """Rates by hour of the week, shrunk to `parent`; all (..., 168)."""
    seen, hits = _smoothed(exposures.astype(np.float64)), _smoothed(opens.astype(np.float64))
    return np.asarray((hits + strength * parent) / (seen + strength))


@njit(cache=True)
def score_recipients(exposures: Any, opens: Any, rows: Any, curves: Any, strength: float) -> Any:
    """Return float32 (n, 168): the scores of n recipients.

    exposures, opens: (n, 24) counts. rows: which of the (m, 168) `curves` is each one's parent.
    """
    n = len(rows)
    scores = np.empty((n, HOURS), np.float32)
    shape = np.empty(DAY, np.float64)
    for i in range(n):
        curve = curves[rows[i]]
        total_opens, expected = 0.0, 0.0
        for d in range(DAY):
            shape[d] = 0.0
            for day in range(7):
                shape[d] += curve[day * DAY + d] / 7.0
            total_opens += opens[i, d]
            expected += exposures[i, d] * shape[d]
        level = (strength + total_opens) / (strength + expected)
        for d in range(DAY):
            shape[d] = (strength + opens[i, d]) / (strength + exposures[i, d] * shape[d] * level)
        for h in range(HOURS):
            scores[i, h] = min(1.0, curve[h] * level * shape[h % DAY])
    return scores


class SendTime(base.Classifier):
    """The same model behind River's interface: readable, one recipient at a time.

    `x` holds `client`, `segment`, `recipient` and `hour_of_week`; `y` says whether a message sent
    then was opened. `predict_proba_one` answers for that hour.
    """

    def __init__(self, strength: float = PRIOR_STRENGTH) -> None:
        self.strength = strength
        self._levels: dict[tuple[str, ...], F64] = {}
        self._recipients: dict[tuple[str, str], F64] = {}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """Count one labelled send at every level."""
        hour = int(x["hour_of_week"])
        for key in ((), (x["client"],), (x["client"], x["segment"])):
            table = self._levels.setdefault(key, np.zeros((2, HOURS)))
            table[:, hour] += (1.0, float(y))
        recipient = self._recipients.setdefault((x["client"], x["recipient"]), np.zeros((2, DAY)))
        recipient[:, hour % DAY] += (1.0, float(y))

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """Probability that a message sent at this hour is opened."""
        curve: F64 = np.full(HOURS, PRIOR_RATE)
        for key in ((), (x["client"],), (x["client"], x["segment"])):
            exposures, opens = self._levels.get(key, np.zeros((2, HOURS)))
            curve = shrunk_rates(exposures, opens, curve, self.strength)
        exposures, opens = self._recipients.get((x["client"], x["recipient"]), np.zeros((2, DAY)))
        mean = curve.reshape(7, DAY).mean(axis=0)
        prior = RECIPIENT_STRENGTH
        level = (prior + opens.sum()) / (prior + (exposures * mean).sum())
        hour = int(x["hour_of_week"])
        day_hour = hour % DAY
        shape = (prior + opens[day_hour]) / (prior + exposures[day_hour] * mean[day_hour] * level)
        p = min(1.0, float(curve[hour] * level * shape))
        return {True: p, False: 1.0 - p}
