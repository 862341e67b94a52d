"""Best hour to send: a recipient's rhythm out of few sends, within what its population does.

`score(weekday, h)`, the probability that a message sent then is opened, has two parts: the
posterior mean over the rhythms of `models.rhythm`, by hour of the day; and a factor on its odds by
weekday, the population's odds of that weekday over its odds of all days, each shrunk::

    rate(d) = (O(d) + DAY_STRENGTH * rate) / (E(d) + DAY_STRENGTH)

Exposures are in every denominator: an hour at which much is sent does not look good for that.
Populations are all clients (opt-in), a client, a segment; each one's shares are its expected counts
plus `strength` recipients of the one above it.

Intervals take the posterior of a score as logit-normal, its mean and variance being those of the
posterior over rhythms (delta method: deviation of the logit = deviation / (mean * (1 - mean))), and
`MISFIT` beside it, for what the rhythms leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from river import base

from sendtide.events.hashing import mix
from sendtide.events.rhythm import (
    BIN_HOURS,
    BINS,
    EVIDENCE,
    FRESHNESS_STEPS,
    NEVER_AGE,
    add_waiting,
    engaged_age,
)
from sendtide.models.curves import DAY, TABLES, TYPES
from sendtide.models.rhythm import (
    AT_ONCE,
    MISFIT,
    POPULATION,
    PRIOR,
    learn_populations,
    log_shares,
    posterior,
    posterior_moments,
)

__all__ = [
    "ALL_LEARN_UNTIL",
    "DAYS",
    "HOURS",
    "PRIOR_RATE",
    "PRIOR_STRENGTH",
    "RHYTHM_COLUMNS",
    "SendTime",
]
__all__ += [
    "add_counts",
    "day_factors",
    "population_curve",
    "population_shares",
    "score_recipients",
]
__all__ += ["teach_rhythms", "with_outcome"]

DAYS: Final = 7
HOURS: Final = DAYS * DAY
PRIOR_RATE: Final = 0.2
"""Open rate assumed before any is seen."""
PRIOR_STRENGTH: Final = 8.0
"""Recipients' worth of belief in the population above."""
DAY_STRENGTH: Final = 200.0
"""Pseudo-sends behind a weekday's rate: weekdays differ little, and noise would look like much."""
RHYTHM_COLUMNS: Final = (
    *("evidence", "hour_of_week", "opened", "clicked", "converted", "open_delay_s"),
    "send_offset",
)
"""What `teach_rhythms` reads of label rows."""
ALL_LEARN_UNTIL: Final = 64
_ONE_IN: Final = 16
"""Labels of a population after which only one in so many teaches it, in place of all of them."""

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@njit(cache=True)
def add_counts(rows: Any, hours: Any, opened: Any, exposures: Any, opens: Any) -> None:
    """Add labelled sends to (m, 168) int64 tables: row, hour of the week, opened or not."""
    for i in range(len(rows)):
        exposures[rows[i], hours[i]] += 1
        opens[rows[i], hours[i]] += opened[i]


def day_factors(exposures: NDArray[Any], opens: NDArray[Any], correction: float = 0.0) -> F64:
    """(7,) factors on the odds of an open by weekday, out of (168,) counts.

    correction: of the log-odds of all days, see `rhythm`.
    """
    sent, opened = exposures.reshape(DAYS, DAY).sum(axis=1), opens.reshape(DAYS, DAY).sum(axis=1)
    rate = (opened.sum() + PRIOR_RATE) / (sent.sum() + 1.0)
    rates = (opened + DAY_STRENGTH * rate) / (sent + DAY_STRENGTH)
    return np.asarray(rates / (1 - rates) * (1 - rate) / rate * np.exp(correction))


def population_shares(counts: F64, parent: F64, strength: float) -> F64:
    """(POPULATION,) shares of a population: expected counts plus `strength` of its parent."""
    out = np.empty(POPULATION)
    log_shares(counts, parent, strength, out)
    return np.exp(out)


def in_hours(travelled: NDArray[Any]) -> F32:
    """(n, EVIDENCE) as examples carry it, with waiting in hours."""
    evidence: F32 = travelled.astype(np.float32)
    evidence[:, :BINS] /= FRESHNESS_STEPS
    return evidence


def with_outcome(columns: Mapping[str, NDArray[Any]]) -> F32:
    """(n, EVIDENCE) of label rows' recipients with those labels counted."""
    after = in_hours(columns["evidence"])
    proven = (columns["clicked"] != 0) | (columns["converted"] != 0)
    seen = (columns["opened"] != 0) | proven
    _count_outcomes(
        columns["hour_of_week"],
        np.where(seen, columns["open_delay_s"].astype(np.int64) * 1000, -1),
        proven,
        after,
    )
    return after


@njit(cache=True)
def _count_outcomes(hours: Any, delays_ms: Any, proven: Any, evidence: Any) -> None:
    steps = np.empty(BINS, np.int64)
    for i in range(len(hours)):
        steps[:] = 0
        age = engaged_age(delays_ms[i], proven[i])
        add_waiting(hours[i], age, steps)
        for b in range(BINS):
            evidence[i, b] += steps[b] / FRESHNESS_STEPS
        if age != NEVER_AGE:
            evidence[i, BINS + ((hours[i] + age) % DAY) // BIN_HOURS] += 1
        evidence[i, 2 * BINS] += 1


def teach_rhythms(
    rows: NDArray[np.int32],
    columns: Mapping[str, NDArray[Any]],
    learned: NDArray[np.int64],
    populations: F64,
    corrections: F64,
    all_until: int = ALL_LEARN_UNTIL,
) -> None:
    """Let n labels teach the (m, POPULATION) expected counts and (m, 2) corrections of their rows.

    learned: (m,) labels of each population before these. A population learns from all of
    its labels until it has had `all_until`, then from one in sixteen, chosen by the send's offset
    and weighed as many times.
    """
    large = _running_counts(rows, learned.copy()) >= all_until
    chosen = ~large | (mix_column(columns["send_offset"]) % np.uint64(_ONE_IN) == 0)
    if not chosen.any():
        return
    part = {name: columns[name][chosen] for name in RHYTHM_COLUMNS}
    factors = np.where(large[chosen], np.float32(_ONE_IN), np.float32(1))
    before = in_hours(part["evidence"])
    after = with_outcome(part)
    learn_populations(
        rows[chosen],
        factors,
        before,
        after,
        part["hour_of_week"],
        part["opened"],
        PRIOR,
        PRIOR_STRENGTH,
        TABLES,
        populations,
        corrections,
    )


@njit(cache=True)
def _running_counts(rows: Any, counts: Any) -> Any:
    """Count of each row's population before it, wherever it stands in its block."""
    out = np.empty(len(rows), np.int64)
    for i in range(len(rows)):
        out[i] = counts[rows[i]]
        counts[rows[i]] += 1
    return out


@njit(cache=True)
def mix_column(values: Any) -> Any:
    """`events.hashing.mix` of each."""
    out = np.empty(len(values), np.uint64)
    for i in range(len(values)):
        out[i] = mix(values[i])
    return out


@njit(cache=True)
def _twins(evidence: Any, rows: Any, populations: int) -> Any:
    """(n,) whose scores each has: all strangers of a population are told the same."""
    twins, known = np.arange(len(rows)), np.full(populations, -1, np.int64)
    for i in range(len(rows)):
        if not evidence[i].any():
            if known[rows[i]] < 0:
                known[rows[i]] = i
            twins[i] = known[rows[i]]
    return twins


@njit(cache=True, fastmath=True)
def _score(moments: Any, factors: Any, scores: Any, deviations: Any) -> None:
    """Fill a recipient's (168,) scores and (24,) deviations."""
    one = np.float32(1)
    odds = np.empty(DAY, np.float32)
    for h in range(DAY):
        mean = moments[h]
        variance = max(moments[DAY + h] - mean * mean, np.float32(0))
        odds_deviation = np.sqrt(variance) / ((one - mean) * mean)
        deviations[h] = np.sqrt(odds_deviation * odds_deviation + MISFIT * MISFIT)
        odds[h] = (one - mean) / mean
    for day in range(DAYS):  # hours last, so that several are divided at once
        for h in range(DAY):
            scaled = odds[h] * factors[day]
            scores[day * DAY + h] = scaled / (one + scaled)


@njit(cache=True, nogil=True)
def score_recipients(evidence: Any, rows: Any, shares: Any, factors: Any, tables: Any) -> Any:
    """Score n recipients; what is found for one depends on the others by rounding at most.

    evidence: (n, EVIDENCE) float32. rows: which of the m populations is each one's. shares:
    (m, POPULATION) float32 logarithms. factors: (m, 7) float32 on the odds by weekday.

    Returns:
        float32 scores (n, 168), and deviations of their logits by hour of the day (n, 24).
    """
    n = len(rows)
    scores, deviations = np.empty((n, HOURS), np.float32), np.empty((n, DAY), np.float32)
    weights, nevers = np.zeros((AT_ONCE, TYPES), np.float32), np.zeros(AT_ONCE, np.float32)
    moments = np.empty((AT_ONCE, 2 * DAY), np.float32)
    twins = _twins(evidence, rows, len(shares))
    own = np.flatnonzero(twins == np.arange(n))
    for start in range(0, len(own), AT_ONCE):
        some = own[start : start + AT_ONCE]
        for k in range(len(some)):
            i = some[k]
            nevers[k] = posterior(evidence[i], shares[rows[i]], tables, weights[k])
        posterior_moments(weights, nevers, tables, moments)
        for k in range(len(some)):
            i = some[k]
            _score(moments[k], factors[rows[i]], scores[i], deviations[i])
    for i in range(n):
        if twins[i] != i:
            scores[i], deviations[i] = scores[twins[i]], deviations[twins[i]]
    return scores, deviations


def population_curve(shares: F64, factors: F64) -> F64:
    """(168,) scores of somebody of a population of whom nothing is known."""
    scores, _ = score_recipients(
        np.zeros((1, EVIDENCE), np.float32),
        np.zeros(1, np.int64),
        np.log(shares)[None].astype(np.float32),
        factors[None].astype(np.float32),
        TABLES,
    )
    return np.asarray(scores[0], np.float64)


class SendTime(base.Classifier):
    """The same model behind River's interface: readable, one recipient at a time.

    `x` holds `client`, `segment`, `recipient`, `hour_of_week`, and, for learning, `delay_s` (from
    send to open, without one to click or conversion, absent if none), `clicked` and `converted`;
    `y` says whether a message sent then was opened.
    `predict_proba_one` answers for that hour.
    """

    def __init__(self, strength: float = PRIOR_STRENGTH) -> None:
        self.strength = strength
        self._populations: dict[tuple[str, ...], F64] = {}
        self._counts: dict[tuple[str, ...], F64] = {}
        self._corrections: dict[tuple[str, ...], F64] = {}
        self._recipients: dict[tuple[str, str], F32] = {}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """Count one labelled send, and teach its client and segment."""
        hour = int(x["hour_of_week"])
        proven = bool(x.get("clicked", False) or x.get("converted", False))
        person = (x["client"], x["recipient"])
        before = self._recipients.get(person, np.zeros(EVIDENCE, np.float32))
        after = before[None].copy()
        delay_ms = int(x.get("delay_s", 0) * 1000) if y or proven else -1
        _count_outcomes(np.array([hour]), np.array([delay_ms]), np.array([proven]), after)
        self._recipients[person] = after[0]
        for key in ((x["client"],), (x["client"], x["segment"])):
            self._counts.setdefault(key, np.zeros((2, HOURS)))[:, hour] += (1.0, float(y))
            population = self._populations.setdefault(key, np.zeros(POPULATION))
            learn_populations(
                np.zeros(1, np.int32),
                np.ones(1, np.float32),
                before[None],
                after,
                np.array([hour]),
                np.array([int(y)]),
                PRIOR,
                PRIOR_STRENGTH,
                TABLES,
                population[None],
                self._corrections.setdefault(key, np.zeros(2))[None],
            )

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """Probability that a message sent at this hour is opened."""
        shares, factors = PRIOR, np.ones(DAYS)
        for key in ((x["client"],), (x["client"], x["segment"])):
            if key in self._counts:
                shares = population_shares(self._populations[key], shares, self.strength)
                exposures, opens = self._counts[key]
                factors = day_factors(exposures, opens, float(self._corrections[key][0]))
        unknown = np.zeros(EVIDENCE, np.float32)
        evidence = self._recipients.get((x["client"], x["recipient"]), unknown)
        scores, _ = score_recipients(
            evidence[None],
            np.zeros(1, np.int64),
            np.log(shares)[None].astype(np.float32),
            factors[None].astype(np.float32),
            TABLES,
        )
        p = float(scores[0, int(x["hour_of_week"])])
        return {True: p, False: 1.0 - p}
