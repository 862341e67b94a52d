"""How good progressive predictions were, by client and target: losses, ranks, calibration.

Everything is a sum, so blocks may be cut anywhere. Ranks are kept as counts by log-odds, 256 cells
0.08 wide from -10.24 to 10.24, since rare targets' probabilities all lie in one corner; scores in
one cell count as ties. The expected calibration error is that of Naeini, Cooper and Hauskrecht
(2015) with 15 cells of equal width: the mean distance, weighted by rows, of mean prediction and
rate.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows

__all__ = ["SCORE_BINS", "Quality", "binned_auc", "bounded_log_loss", "score_bin"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

SCORE_BINS: Final = 256
_BINS_PER_UNIT: Final = 12.5
_RELIABILITY_BINS: Final = 15
_SMALLEST_P: Final = 1e-15
"""Probabilities are kept this far from 0 and 1 in the log loss, which is infinite there."""
_TABLES: Final = ("labels", "losses", "scores", "reliability")


@njit(cache=True)
def score_bin(p: float) -> int:
    """Cell of a probability by its log-odds."""
    if p <= 0.0 or p >= 1.0:
        return 0 if p <= 0.0 else SCORE_BINS - 1
    cell = int(np.floor(np.log(p / (1.0 - p)) * _BINS_PER_UNIT)) + SCORE_BINS // 2
    return min(max(cell, 0), SCORE_BINS - 1)


@njit(cache=True)
def _log_loss(prediction: float, happened: int) -> float:
    p = min(max(prediction, _SMALLEST_P), 1.0 - _SMALLEST_P)
    return float(-np.log(p) if happened else -np.log(1.0 - p))


def bounded_log_loss(prediction: float, happened: bool) -> float:
    """Log loss of one prediction, in nats, never infinite."""
    return float(_log_loss(prediction, int(happened)))


def binned_auc(counts: NDArray[np.integer[Any]]) -> float | None:
    """Area under the ROC curve from counts (bins, 2) of negatives and positives; ties half."""
    negatives, positives = counts[:, 0].astype(np.float64), counts[:, 1].astype(np.float64)
    pairs = float(negatives.sum() * positives.sum())
    if pairs == 0:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum()) / pairs


@njit(cache=True)
def _score(rows: Any, target: int, predictions: Any, happened: Any, tables: Any) -> Any:
    """Add n predictions to the tables; return their log losses."""
    labels, sums, scores, reliability = tables
    losses = np.empty(len(rows), np.float64)
    for i in range(len(rows)):
        row, p, label = rows[i], predictions[i], int(happened[i])
        losses[i] = _log_loss(p, label)
        labels[row, target, 0] += 1
        labels[row, target, 1] += label
        sums[row, target, 0] += losses[i]
        sums[row, target, 1] += (p - label) ** 2
        scores[row, target, score_bin(p), label] += 1
        cell = min(int(p * reliability.shape[2]), reliability.shape[2] - 1)
        reliability[row, target, cell, 0] += 1.0
        reliability[row, target, cell, 1] += label
        reliability[row, target, cell, 2] += p
    return losses


class Quality:
    """Tables with one row per client and one column per target.

    labels: (clients, targets, 2) int64 labels and positives. losses: (clients, targets, 2) sums of
    log loss and Brier score. scores: (clients, targets, SCORE_BINS, 2) int32. reliability:
    (clients, targets, 15, 3) rows, positives and sum of predictions.
    """

    def __init__(self, targets: int) -> None:
        self.labels: I64 = np.zeros((0, targets, 2), np.int64)
        self.losses: F64 = np.zeros((0, targets, 2))
        self.scores: I32 = np.zeros((0, targets, SCORE_BINS, 2), np.int32)
        self.reliability: F64 = np.zeros((0, targets, _RELIABILITY_BINS, 3))

    def grow(self, clients: int) -> None:
        """Have room for so many clients."""
        for name in _TABLES:
            setattr(self, name, with_rows(getattr(self, name), clients))

    def add(self, rows: I32, target: int, predictions: F64, happened: NDArray[np.bool_]) -> F64:
        """Count n predictions made before their labels were learned; return their log losses."""
        tables = (self.labels, self.losses, self.scores, self.reliability)
        losses: F64 = _score(rows, target, predictions, happened, tables)
        return losses

    def learned(self, row: int, target: int) -> int:
        """Labels so far."""
        return int(self.labels[row, target, 0])

    def measures(self, row: int, target: int) -> dict[str, Any]:
        """log_loss, brier, auc and ece of one client's target; None before the first label."""
        learned = self.learned(row, target)
        if not learned:
            return dict.fromkeys(("log_loss", "brier", "auc", "ece"))
        log_loss, brier = (self.losses[row, target] / learned).tolist()
        cells = self.reliability[row, target]
        ece = float(np.abs(cells[:, 1] - cells[:, 2]).sum() / learned)
        auc = binned_auc(self.scores[row, target])
        return {"log_loss": log_loss, "brier": brier, "auc": auc, "ece": ece}

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """Copies of all tables, cut to the clients in use."""
        return {name: getattr(self, name)[:clients].copy() for name in _TABLES}

    def restore(self, columns: dict[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        for name in _TABLES:
            setattr(self, name, columns[name].copy())
