"""Scores by quarter of the year, so that a change of behaviour shows where it happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.lab.evaluate import calibration_error, score

__all__ = ["by_quarter", "quarter_names"]


def quarter_names(time_ms: NDArray[np.int64]) -> NDArray[np.str_]:
    """(n,) names as "2020-Q1", by UTC."""
    months = time_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    quarters = months // 3
    distinct, which = np.unique(quarters, return_inverse=True)
    names = [f"{1970 + quarter // 4}-Q{quarter % 4 + 1}" for quarter in distinct.tolist()]
    return np.array(names)[which.reshape(-1)]


def by_quarter(
    time_ms: NDArray[np.int64], label: NDArray[Any], prediction: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Quarter to rows, rate, mean prediction, auc, log_loss and ece, in order of time."""
    names = quarter_names(time_ms)
    out = {}
    for name in np.unique(names).tolist():
        mine = names == name
        found = score(label[mine], prediction[mine])
        out[name] = {
            "rows": found.rows,
            "rate": float(label[mine].mean()),
            "predicted": float(prediction[mine].mean()),
            "auc": found.auc,
            "log_loss": found.log_loss,
            "ece": calibration_error(label[mine], prediction[mine]),
        }
    return out
