"""What labels teach: the open propensity of each client, its quality, and its hours.

Every label row is predicted first and learned after (progressive validation), so its losses are
those of a model that had not seen it. A row's features use its client's running open rate as it
was just before that row, wherever the row stands in a block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows
from sendtide.clients.settings import ClientSettings
from sendtide.events.examples import HISTORY_COLUMNS
from sendtide.models.bank import LinearBank, LinearSettings
from sendtide.models.open_propensity import FEATURES, PRIOR_RATE, features
from sendtide.models.rhythm import POPULATION
from sendtide.models.send_time import HOURS, RHYTHM_COLUMNS, add_counts, teach_rhythms

__all__ = ["RATE_STRENGTH", "SCORE_BINS", "Learning", "binned_auc", "bounded_log_loss"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Columns = Mapping[str, NDArray[Any]]

RATE_STRENGTH: Final = 10.0
"""Pseudo-sends at `PRIOR_RATE` behind a client's running open rate."""
SCORE_BINS: Final = 1000
"""Resolution of the AUC: scores closer than 0.001 count as ties."""
_SMALLEST_P: Final = 1e-15
"""Probabilities are kept this far from 0 and 1 in the log loss, which is infinite there."""
_SENDS, _OPENS = 0, 1
_CLIENT_TABLES: Final = ("counts", "losses", "scores", "exposures", "opens", "rhythms")
_SEGMENT_TABLES: Final = ("segment_exposures", "segment_opens", "segment_rhythms")


@njit(cache=True)
def _running_rates(rows: Any, opened: Any, counts: Any, strength: float, prior: float) -> Any:
    """Count the rows; return for each the shrunk open rate of its client before it."""
    rates = np.empty(len(rows), np.float64)
    for i in range(len(rows)):
        row = rows[i]
        rates[i] = (counts[row, 1] + strength * prior) / (counts[row, 0] + strength)
        counts[row, 0] += 1
        counts[row, 1] += opened[i]
    return rates


@njit(cache=True)
def _log_loss(prediction: float, opened: int, smallest: float) -> float:
    p = min(max(prediction, smallest), 1.0 - smallest)
    return float(-np.log(p) if opened else -np.log(1.0 - p))


def bounded_log_loss(prediction: float, opened: bool) -> float:
    """Log loss of one prediction, in nats, never infinite."""
    return float(_log_loss(prediction, int(opened), _SMALLEST_P))


@njit(cache=True)
def _score(rows: Any, predictions: Any, opened: Any, smallest: float, sums: Any, bins: Any) -> Any:
    """Add losses to (clients, 2) log and Brier sums, scores to (clients, bins, 2) counts."""
    losses = np.empty(len(rows), np.float64)
    for i in range(len(rows)):
        label = opened[i]
        losses[i] = _log_loss(predictions[i], label, smallest)
        sums[rows[i], 0] += losses[i]
        sums[rows[i], 1] += (predictions[i] - label) ** 2
        place = min(int(predictions[i] * bins.shape[1]), bins.shape[1] - 1)
        bins[rows[i], place, label] += 1
    return losses


def binned_auc(counts: NDArray[np.integer[Any]]) -> float | None:
    """Area under the ROC curve from counts (bins, 2) of negatives and positives; ties half."""
    negatives, positives = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    pairs = float(negatives.sum() * positives.sum())
    if pairs == 0:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum()) / pairs


class Learning:
    """Models, losses and hour tables of a partition's clients; row 0 .. n - 1 as in the roster."""

    def __init__(self, settings: ClientSettings) -> None:
        self.bank = LinearBank(
            len(FEATURES), LinearSettings(learning_rate=settings.learning_rate, l2=settings.l2)
        )
        self.counts: I64 = np.zeros((0, 2), np.int64)
        self.losses: F64 = np.zeros((0, 2))
        self.scores: I64 = np.zeros((0, SCORE_BINS, 2), np.int64)
        self.exposures: I64 = np.zeros((0, HOURS), np.int64)
        self.opens: I64 = np.zeros((0, HOURS), np.int64)
        self.rhythms: F64 = np.zeros((0, POPULATION))
        self.segment_rhythms: F64 = np.zeros((0, POPULATION))
        self.segment_exposures: I64 = np.zeros((0, HOURS), np.int64)
        self.segment_opens: I64 = np.zeros((0, HOURS), np.int64)

    def grow(self, clients: int, segments: int) -> None:
        """Have room for so many rows."""
        self.bank.grow(clients)
        for name in _CLIENT_TABLES:
            setattr(self, name, with_rows(getattr(self, name), clients))
        for name in _SEGMENT_TABLES:
            setattr(self, name, with_rows(getattr(self, name), segments))

    def learned(self) -> I64:
        """Labels learned, by client."""
        return self.counts[:, _SENDS]

    def rates(self) -> F64:
        """Running open rate of each client, shrunk to the prior."""
        sends, opens = self.counts[:, _SENDS], self.counts[:, _OPENS]
        return np.asarray((opens + RATE_STRENGTH * PRIOR_RATE) / (sends + RATE_STRENGTH))

    def features(self, columns: Columns, rates: F64) -> F64:
        """Model input of n rows, (n, features)."""
        history = {name: columns[name] for name in HISTORY_COLUMNS}
        return features(history, columns["content"], rates)

    def expose(self, rows: I32, columns: Columns) -> tuple[F64, F64]:
        """Features and predictions of n sends whose fate is open; learns nothing."""
        x = self.features(columns, self.rates()[rows])
        return x, self.bank.predict(rows, x)

    def learn(self, rows: I32, segment_rows: I32, columns: Columns) -> tuple[F64, F64, F64]:
        """Predict, score and learn n label rows in order.

        Returns:
            Features (n, features), predictions (n,) and log losses (n,).
        """
        opened = (columns["opened"] != 0).astype(np.int64)
        rates = _running_rates(rows, opened, self.counts, RATE_STRENGTH, PRIOR_RATE)
        x = self.features(columns, rates)
        predictions = self.bank.learn(rows, x, opened.astype(bool))
        losses: F64 = _score(rows, predictions, opened, _SMALLEST_P, self.losses, self.scores)
        hours = columns["hour_of_week"]
        add_counts(rows, hours, opened, self.exposures, self.opens)
        teach_rhythms(rows, columns, self.learned(), self.rhythms)
        named = segment_rows >= 0
        mine = {name: columns[name][named] for name in RHYTHM_COLUMNS}
        sent = self.segment_exposures.sum(axis=1)
        teach_rhythms(segment_rows[named], mine, sent, self.segment_rhythms)
        tables = self.segment_exposures, self.segment_opens
        add_counts(segment_rows[named], hours[named], opened[named], *tables)
        return x, predictions, losses

    def all_hours(self) -> tuple[I64, I64]:
        """Exposures and opens by hour over all clients of the partition."""
        return self.exposures.sum(axis=0), self.opens.sum(axis=0)

    def snapshot(self, clients: int, segments: int) -> dict[str, NDArray[Any]]:
        """Copies of all tables, cut to the rows in use."""
        columns = {f"bank.{n}": array[:clients].copy() for n, array in self.bank.columns().items()}
        for name in _CLIENT_TABLES:
            columns[name] = getattr(self, name)[:clients].copy()
        for name in _SEGMENT_TABLES:
            columns[name] = getattr(self, name)[:segments].copy()
        return columns

    def restore(self, columns: Columns) -> None:
        """Take over what `snapshot` gave."""
        for name in self.bank.columns():
            kept = columns[f"bank.{name}"]
            self.bank.grow(len(kept))
            getattr(self.bank, name)[: len(kept)] = kept
        for name in (*_CLIENT_TABLES, *_SEGMENT_TABLES):
            setattr(self, name, columns[name].copy())
