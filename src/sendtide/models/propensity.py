"""What becomes of a message: features out of a recipient's history, its client's rates, content.

Five targets share one feature row. The features are bounded and of order one, so no scaler is
needed. A recipient's rates enter as log-odds, shrunk to the client's own running rate, so the
per-recipient Beta-Binomial is a special case of the model.

Recent behaviour comes from counts by ten-day period (`events.examples`), weighted by half-lives.
An open of a mailing that few opened says more than one of a mailing that everybody opened: so
beside rates there is the lift, opens over those expected from the client's own rate in the periods
in which this recipient was sent something, and the mean unusualness of the periods in which it
opened (who opens only what everybody opens).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.examples import PERIOD_BITS, PERIODS
from sendtide.events.messages import CONTENT_FIELDS

__all__ = ["FEATURES", "PRIOR_RATES", "RATE_STRENGTH", "TARGETS", "WATCHED", "ClientRates"]

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

TARGETS: Final = ("open", "click", "unsubscribe", "complaint", "bounce")
PRIOR_RATES: Final = (0.2, 0.02, 0.002, 0.0005, 0.01)
"""Rates assumed before any are seen: the order of magnitude usual in the trade."""
RATE_STRENGTH: Final = 10.0
"""Pseudo-sends at the prior rate behind a client's running rate."""

_LIFETIME_STRENGTH: Final = 2.0
_RECENT_STRENGTH: Final = 0.7
_CLICK_STRENGTH: Final = 5.0
_PERIOD_STRENGTH: Final = 20.0
_HALF_LIVES: Final = (2.0, 8.0)
"""Of the recent and the slow weights, in periods."""
_CONTENT_SCALES: Final = {
    "subject_length": (60.0, 20.0),
    "words": (400.0, 200.0),
    "links": (20.0, 10.0),
    "clickable_images": (6.0, 5.0),
    "unclickable_images": (1.0, 2.0),
}
"""Typical value and spread of each content measure; deviations are clipped to +-3 spreads."""

WATCHED: Final = (
    "lifetime_log_odds",
    "recent_log_odds",
    "first_message",
    "never_opened",
    "open_recency",
    "send_recency",
    "log_sends",
    "log_clicks",
)
"""Features of the history that are watched for drift; the others say the same in other words."""
FEATURES: Final = (
    *WATCHED,
    "slow_log_odds",
    "lift",
    "slow_unusualness",
    "unusualness",
    "unopened_streak",
    "newest_period_rate",
    "period_before_rate",
    "click_log_odds",
    *CONTENT_FIELDS,
)
_CONTENT_FROM: Final = len(FEATURES) - len(CONTENT_FIELDS)
_NEWEST: Final = FEATURES.index("newest_period_rate")
_RING: Final = 32
_BITS: Final = np.uint64(PERIOD_BITS)
_LOGS: Final = np.log1p(np.arange(4096.0))
_FULL: Final = np.uint64((1 << PERIOD_BITS) - 1)
_WEIGHTS: Final = np.array(
    [[2.0 ** (-age / half_life) for age in range(PERIODS)] for half_life in _HALF_LIVES]
)
_TYPICAL: Final = np.array([_CONTENT_SCALES[name] for name in CONTENT_FIELDS])
_RATES: Final = ("counts", "rings", "newest", "sums", "distances")
_HISTORY: Final = ("sends", "opens", "clicks", "hours_since_send", "hours_since_open")


@njit(cache=True)
def _log_odds(hits: float, tries: float, rate: float, strength: float) -> float:
    p = (hits + strength * rate) / (max(tries, hits) + strength)
    p = min(max(p, 1e-3), 1 - 1e-3)
    return float(np.log(p / (1 - p)))


@njit(cache=True)
def _recency(hours: float, half_life_h: float) -> float:
    """1 just now, 1/2 after the half-life, 0 if never (NaN)."""
    return 0.0 if np.isnan(hours) else float(2.0 ** (-max(hours, 0.0) / half_life_h))


@njit(cache=True)
def _log1p(count: float) -> float:
    """Log(1 + count) of a whole number; small ones out of a table."""
    return float(_LOGS[int(count)] if count < len(_LOGS) else np.log1p(count))


@njit(cache=True)
def _fill_periods(
    sent: Any, opened: Any, period: int, rate: float, ring: Any, newest: int, x: Any
) -> None:
    """Write what follows from one recipient's counts by period."""
    recent_sends, recent_opens, slow_sends, slow_opens = 0.0, 0.0, 0.0, 0.0
    expected, slow_unusual, opens, unusual, streak = 0.0, 0.0, 0.0, 0.0, 0.0
    found, age, per_odds = 0, 0, 1.0 / (rate * (1.0 - rate))
    x[_NEWEST] = x[_NEWEST + 1] = rate
    while sent:
        sends, hits = float(sent & _FULL), float(opened & _FULL)
        if sends != 0.0:
            then, tries, all_hits = period - age, 0.0, 0.0
            if newest - _RING < then <= newest:
                tries, all_hits = ring[then & (_RING - 1), 0], ring[then & (_RING - 1), 1]
            usual = (all_hits + _PERIOD_STRENGTH * rate) / (tries + _PERIOD_STRENGTH)
            # The difference of log-odds to first order: as good, and without two logarithms.
            apart = (usual - rate) * per_odds
            recent, slow = _WEIGHTS[0, age], _WEIGHTS[1, age]
            recent_sends += recent * sends
            recent_opens += recent * hits
            slow_sends += slow * sends
            slow_opens += slow * hits
            expected += slow * sends * usual
            slow_unusual += slow * hits * apart
            opens += hits
            unusual += hits * apart
            streak += sends if opens == 0.0 else 0.0
            if found < 2:
                x[_NEWEST + found] = hits / sends
            found += 1
        sent >>= _BITS
        opened >>= _BITS
        age += 1
    x[1] = _log_odds(recent_opens, recent_sends, rate, _RECENT_STRENGTH) / 2.0
    x[8] = _log_odds(slow_opens, slow_sends, rate, _RECENT_STRENGTH) / 2.0
    x[9] = np.log((slow_opens + 0.5) / (expected + 0.5))
    x[10] = min(max(3.0 * slow_unusual / (slow_opens + 1.0), -3.0), 3.0)
    x[11] = min(max(3.0 * unusual / (opens + 1.0), -3.0), 3.0)
    x[12] = _log1p(streak) / 2.0


@njit(cache=True)
def _fill(history: Any, content: Any, rate: float, click_rate: float, x: Any) -> None:
    """Write what follows from the other columns; the order is that of FEATURES."""
    sends, opens, clicks, send_h, open_h = history
    x[0] = _log_odds(opens, sends, rate, _LIFETIME_STRENGTH) / 2.0
    x[2] = 1.0 if sends == 0.0 else 0.0
    x[3] = 1.0 if opens == 0.0 and sends > 0.0 else 0.0
    x[4] = _recency(open_h, 24.0 * 30)
    x[5] = _recency(send_h, 24.0 * 7)
    x[6] = _log1p(sends) / 3.0
    x[7] = _log1p(clicks)
    x[15] = _log_odds(clicks, sends, click_rate, _CLICK_STRENGTH) / 3.0
    for j in range(len(content)):
        away = (content[j] - _TYPICAL[j, 0]) / _TYPICAL[j, 1]
        x[_CONTENT_FROM + j] = 0.0 if np.isnan(away) else min(max(away, -3.0), 3.0) / 3.0


@njit(cache=True)
def _rate(sends: int, hits: int, prior: float) -> float:
    return float((hits + RATE_STRENGTH * prior) / (sends + RATE_STRENGTH))


@njit(cache=True, nogil=True)
def _features(
    rows: Any, history: Any, words: Any, periods: Any, content: Any, tables: Any, outcome: Any
) -> Any:
    """Features of n rows; with outcomes (n, 3) of exposed, opened, clicked, count each after it."""
    counts, rings, newest, sums, distances = tables
    x = np.empty((len(rows), len(FEATURES)))
    for i in range(len(rows)):
        row = rows[i]
        rate = _rate(counts[row, 0], counts[row, 1], PRIOR_RATES[0])
        click_rate = _rate(counts[row, 0], counts[row, 2], PRIOR_RATES[1])
        period = periods[i]
        columns = (history[0][i], history[1][i], history[2][i], history[3][i], history[4][i])
        _fill(columns, content[i], rate, click_rate, x[i])
        _fill_periods(words[0][i], words[1][i], period, rate, rings[row], newest[row], x[i])
        if len(outcome) and outcome[i, 0]:
            each = 1.0 / max(counts[row, 0], 1)
            for j in range(x.shape[1]):
                distances[row, j] += abs(x[i, j] - sums[row, j] * each)
                sums[row, j] += x[i, j]
            counts[row, 0] += 1
            counts[row, 1] += outcome[i, 1]
            counts[row, 2] += outcome[i, 2]
            for newer in range(max(newest[row], period - _RING) + 1, period + 1):
                rings[row, newer & (_RING - 1), :] = 0
            newest[row] = max(newest[row], period)
            if period > newest[row] - _RING:
                rings[row, period & (_RING - 1), 0] += 1
                rings[row, period & (_RING - 1), 1] += outcome[i, 1]
    return x


class ClientRates:
    """What clients' labels came to: the rates that features are shrunk to and compared with.

    counts: (clients, 3) int64 exposures, opens, clicks. rings: (clients, 32, 2) int32 exposures
    and opens by period of the send, at period modulo 32. newest: (clients,) newest period. sums,
    distances: (clients, features) of the features of exposures, and of how far each was from the
    mean of those before it; explanations rest on them.
    """

    def __init__(self, clients: int = 0) -> None:
        self.counts: I64 = np.zeros((clients, 3), np.int64)
        self.rings: NDArray[np.int32] = np.zeros((clients, _RING, 2), np.int32)
        self.newest: I64 = np.zeros(clients, np.int64)
        self.sums: F64 = np.zeros((clients, len(FEATURES)))
        self.distances: F64 = np.zeros((clients, len(FEATURES)))

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        have = len(self.newest)
        if clients <= have:
            return
        fresh = ClientRates(max(clients, 2 * have) - have)
        for name in _RATES:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(fresh, name)]))

    def columns(self, rows: slice) -> dict[str, NDArray[Any]]:
        """Copies of some clients' rows."""
        return {f"rates.{name}": getattr(self, name)[rows].copy() for name in _RATES}

    def put(self, rows: slice, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `columns` gave.

        Raises:
            KeyError, ValueError: it is of another shape.
        """
        self.grow(rows.stop)
        for name in _RATES:
            getattr(self, name)[rows] = columns[f"rates.{name}"]

    def tables(self) -> tuple[NDArray[Any], ...]:
        """The state, one row per client."""
        return self.counts, self.rings, self.newest, self.sums, self.distances

    def features(
        self, rows: NDArray[Any], history: Mapping[str, NDArray[Any]], content: F32
    ) -> F64:
        """Return (n, len(FEATURES)) float64; changes nothing.

        Args:
            rows: (n,) client rows.
            history: the HISTORY_COLUMNS.
            content: (n, 5), NaN where absent.
        """
        return self._features(rows, history, content, np.zeros((0, 3), np.int64))

    def count(
        self,
        rows: NDArray[Any],
        history: Mapping[str, NDArray[Any]],
        content: F32,
        outcome: NDArray[np.int64],
    ) -> F64:
        """As `features`, each row by the rates before it, counted after it.

        outcome: (n, 3) 0 or 1: exposed (not bounced), opened, clicked.
        """
        return self._features(rows, history, content, outcome)

    def _features(
        self,
        rows: NDArray[Any],
        history: Mapping[str, NDArray[Any]],
        content: F32,
        outcome: NDArray[np.int64],
    ) -> F64:
        x: F64 = _features(
            rows,
            tuple(np.ascontiguousarray(history[name], np.float32) for name in _HISTORY),
            tuple(
                np.ascontiguousarray(history[name], np.uint64)
                for name in ("period_sends", "period_opens")
            ),
            np.ascontiguousarray(history["period"], np.int32),
            np.ascontiguousarray(content, np.float32),
            self.tables(),
            outcome,
        )
        return x
