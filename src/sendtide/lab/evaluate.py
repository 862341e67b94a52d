"""Exact scores of predictions, and the baseline that a model of opens has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = ["BASELINE_STRENGTH", "Score", "auc", "beta_binomial", "calibration_curve"]
__all__ += ["calibration_error", "log_loss", "score"]

F64 = NDArray[np.float64]

BASELINE_STRENGTH: Final = 4.0
_FIRST_SENDS: Final = 5.0  # the running mean starts as one open in five sends: a guess of 0.2
_FIRST_OPENS: Final = 1.0
_CLIP: Final = 1e-15  # as River's and scikit-learn's log loss: a certain error costs 34.5, not inf


@dataclass(frozen=True, slots=True)
class Score:
    """How good predictions were: `rows` of them."""

    rows: int
    auc: float
    log_loss: float


def auc(label: NDArray[Any], prediction: F64) -> float:
    """Area under the ROC curve: P(prediction of a positive > of a negative), ties count half.

    Exact, by mid-ranks (Mann-Whitney U). NaN if only one class is there.

    Raises:
        ValueError: lengths differ or a prediction is not a number.
    """
    positive = _checked(label, prediction)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(prediction)
    wins = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


def log_loss(label: NDArray[Any], prediction: F64) -> float:
    """Mean negative log-likelihood in nats; probabilities are kept within 1e-15 of 0 and 1.

    Raises:
        ValueError: lengths differ or a prediction is not a number.
    """
    positive = _checked(label, prediction)
    if not len(positive):
        return float("nan")
    p = np.clip(np.asarray(prediction, np.float64), _CLIP, 1 - _CLIP)
    return float(-np.where(positive, np.log(p), np.log1p(-p)).mean())


def score(label: NDArray[Any], prediction: F64) -> Score:
    """Both measures at once."""
    return Score(len(label), auc(label, prediction), log_loss(label, prediction))


def calibration_error(label: NDArray[Any], prediction: F64, cells: int = 15) -> float:
    """Expected calibration error: |mean prediction - rate| over cells of equal width, by rows.

    Source: Naeini, Cooper and Hauskrecht 2015; 15 cells as in Guo et al. 2017. NaN without rows.

    Raises:
        ValueError: lengths differ or a prediction is not a number.
    """
    positive = _checked(label, prediction)
    if not len(positive):
        return float("nan")
    cell = np.minimum((np.asarray(prediction) * cells).astype(np.int64), cells - 1)
    apart = np.bincount(cell, positive - prediction, cells)
    return float(np.abs(apart).sum() / len(positive))


def calibration_curve(
    label: NDArray[Any], prediction: F64, cells: int = 15
) -> list[tuple[int, float, float]]:
    """Rows, mean prediction and rate of the cells of `calibration_error` that have any.

    Raises:
        ValueError: lengths differ or a prediction is not a number.
    """
    positive = _checked(label, prediction)
    cell = np.minimum((np.asarray(prediction) * cells).astype(np.int64), cells - 1)
    rows = np.bincount(cell, minlength=cells)
    predicted = np.bincount(cell, prediction, cells)
    opened = np.bincount(cell, positive, cells)
    return [
        (int(rows[c]), float(predicted[c] / rows[c]), float(opened[c] / rows[c]))
        for c in np.flatnonzero(rows).tolist()
    ]


def _checked(label: NDArray[Any], prediction: F64) -> NDArray[np.bool_]:
    if len(label) != len(prediction):
        msg = f"{len(label)} labels but {len(prediction)} predictions; they must pair up"
        raise ValueError(msg)
    bad = int(np.count_nonzero(~np.isfinite(prediction)))
    if bad:
        msg = f"{bad} of {len(prediction)} predictions are not finite; a score would hide them"
        raise ValueError(msg)
    return np.asarray(label).astype(np.bool_)


@njit(cache=True)
def _progressive(person: Any, sent_at: Any, label: Any, strength: float, people: int) -> Any:
    sends, opens = np.zeros(people), np.zeros(people)
    all_sends, all_opens = _FIRST_SENDS, _FIRST_OPENS
    prediction = np.empty(len(person))
    start = 0
    while start < len(person):
        end = start
        mean = all_opens / all_sends
        while end < len(person) and sent_at[end] == sent_at[start]:
            who = person[end]
            prediction[end] = (opens[who] + strength * mean) / (sends[who] + strength)
            end += 1
        for row in range(start, end):
            sends[person[row]] += 1
            opens[person[row]] += label[row]
            all_opens += label[row]
        all_sends += end - start
        start = end
    return prediction


def beta_binomial(
    person: NDArray[np.int64],
    sent_at: NDArray[np.int64],
    label: NDArray[np.bool_],
    strength: float = BASELINE_STRENGTH,
) -> F64:
    """Progressive predictions of a per-person Beta-Binomial, in send order.

    p = (opens + strength * mean) / (sends + strength), where mean is the open rate of all sends
    before this issue. All messages of one moment are predicted before any of them is learned from.
    Labels are taken as known before the next issue, which is kinder than life.

    person: any integers. sent_at: not falling. Returns (n,).

    Raises:
        ValueError: `sent_at` falls somewhere.
    """
    if np.any(np.diff(sent_at) < 0):
        msg = "rows are not in send order; sort them by `sent_at`, or the future leaks in"
        raise ValueError(msg)
    distinct, row = np.unique(person, return_inverse=True)
    predictions: F64 = _progressive(
        row, sent_at, np.asarray(label, np.float64), strength, len(distinct)
    )
    return predictions
