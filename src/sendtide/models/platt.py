"""Online Platt scaling: calibrated probabilities out of another model's log-odds.

Platt (1999) maps a score z to sigmoid(a z + b). Here a and b, which begin at 1 and 0, are a random
walk that an extended Kalman filter follows, as `kalman` does for weights, written out for two. It
learns from what the other model answered before it learned the label, so no label is seen early.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["PlattScaling"]

F64 = NDArray[np.float64]

_VARIANCE: Final = 0.02
"""Of slope and offset before any label: about +-0.28 is thought likely for both."""
_NOISE: Final = 1e-7
"""Added to both variances with every label."""
_LEAST_H: Final = 1e-3
_FRESH: Final = (1.0, 0.0, _VARIANCE, 0.0, _VARIANCE)
_FIRST_ROWS: Final = 16
_MOST: Final = 30.0


@njit(cache=True)
def _sigmoid(z: float) -> float:
    return float(1.0 / (1.0 + np.exp(-min(max(z, -_MOST), _MOST))))


@njit(cache=True, nogil=True)
def _scaled(rows: Any, z: Any, table: Any) -> Any:
    out = np.empty(len(rows))
    for i in range(len(rows)):
        out[i] = _sigmoid(table[rows[i], 0] * z[i] + table[rows[i], 1])
    return out


@njit(cache=True)
def _learn(rows: Any, z: Any, y: Any, table: Any) -> Any:
    """Predict, then learn; a table's row is slope, offset, and their variances and covariance."""
    out = np.empty(len(rows))
    for i in range(len(rows)):
        row, score = rows[i], z[i]
        slope, offset = table[row, 0], table[row, 1]
        of_slope, both, of_offset = table[row, 2] + _NOISE, table[row, 3], table[row, 4] + _NOISE
        p = _sigmoid(slope * score + offset)
        out[i] = p
        h = max(p * (1.0 - p), _LEAST_H)
        by_slope, by_offset = of_slope * score + both, both * score + of_offset
        gain = 1.0 / (1.0 + h * max(by_slope * score + by_offset, 0.0))
        step, fall = gain * (y[i] - p), gain * h
        table[row, 0] = slope + step * by_slope
        table[row, 1] = offset + step * by_offset
        table[row, 2] = of_slope - fall * by_slope * by_slope
        table[row, 3] = both - fall * by_slope * by_offset
        table[row, 4] = of_offset - fall * by_offset * by_offset
    return out


class PlattScaling:
    """Slopes and offsets of many clients. table: (rows, 5) slope, offset, their covariance."""

    def __init__(self) -> None:
        self.table: F64 = np.tile(np.array(_FRESH), (_FIRST_ROWS, 1))

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        have = len(self.table)
        if clients > have:
            fresh = np.tile(np.array(_FRESH), (max(clients, 2 * have) - have, 1))
            self.table = np.concatenate([self.table, fresh])

    def columns(self) -> dict[str, F64]:
        """The state, one row per client."""
        return {"table": self.table}

    def predict(self, rows: NDArray[np.int32], log_odds: F64) -> F64:
        """(n,) calibrated probabilities; changes nothing."""
        out: F64 = _scaled(rows, log_odds, self.table)
        return out

    def learn(self, rows: NDArray[np.int32], log_odds: F64, y: NDArray[np.bool_]) -> F64:
        """Predict each row, then learn it; return the probabilities before learning."""
        out: F64 = _learn(rows, log_odds, y, self.table)
        return out
