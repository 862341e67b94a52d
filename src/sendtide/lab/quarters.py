"""Scores by quarter or month, so that a change of behaviour shows where it happened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.lab.evaluate import calibration_error, score

__all__ = ["by_period", "by_quarter", "month_names", "quarter_names"]


def month_names(time_ms: NDArray[np.int64]) -> NDArray[np.str_]:
    """(n,) names as "2020-03", by UTC."""
    return np.datetime_as_string(time_ms.astype("datetime64[ms]"), unit="M")


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
    """Quarter to the numbers of `by_period`, in order of time."""
    return by_period(quarter_names(time_ms), label, prediction)


def by_period(
    names: NDArray[np.str_], label: NDArray[Any], prediction: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Name of a period to rows, rate, mean prediction, auc, log_loss and ece, in their order."""
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
