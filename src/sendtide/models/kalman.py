"""Dynamic logistic regression: weights that wander, followed by an extended Kalman filter.

The weights w of a client and target wander around an anchor a; a label is a Bernoulli draw with
log-odds w . x. The filter keeps a Gaussian N(w, P) and takes each label by one Newton step (West,
Harrison and Migon 1985, dynamic generalised linear models; McCormick, Raftery, Madigan and Burd
2012, dynamic logistic regression)::

    a += (1 - 0.5 ** (days / 60)) (w - a)              days: since the last label
    w  = a + 0.6 ** days (w - a)
    P += noise_per_day * days + noise_per_label        on the diagonal
    p  = 1 / (1 + exp(-w . x)),   h = max(p (1 - p), 0.001),   k = P x,   s = x . k
    w += k (y - p) / (1 + h s)
    P -= k k' h / (1 + h s)

    a += (w - a) max(4 / (labels + 4), 0.00001)

What one mailing taught of itself so fades until the next, and what all of them taught stays: the
anchor is the running mean of the weights (Polyak and Juditsky 1992), at last over 100,000 labels
or 60 days, whichever is shorter.

The answer is averaged over N(w, P) by the probit approximation (MacKay 1992): sigmoid of
w . x / sqrt(1 + pi s / 8). So a client with few labels is answered near its prior, never by 0 or 1.
There is no learning rate: the step is as large as the weights are uncertain. `full` keeps the
covariances of the weights, else only their variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from river import base

__all__ = ["KalmanBank", "KalmanLogistic", "KalmanSettings", "sigmoid"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_FIRST_ROWS: Final = 16
_DAY_MS: Final = 86_400_000.0
_MOST_DAYS: Final = 10.0
"""A longer silence adds no more doubt."""
_LEAST_H: Final = 1e-3
_MACKAY: Final = np.pi / 8
_NEVER: Final = -1
_RETURN: Final = 0.6
"""What is left of a weight's distance from its anchor after a day."""
_ANCHOR_LABELS: Final = 4.0
_ANCHOR_RATE: Final = 1e-5
_ANCHOR_DAYS: Final = 60.0
"""Half-life of an anchor's distance from its weights, where labels are few."""
_MOST_MARGIN: Final = 30.0
"""So that no answer is 0 or 1, whatever the features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KalmanSettings:
    """Of the weights, the intercept last: mean and variance before any label, noise of the walk."""

    mean: tuple[float, ...]
    variance: float = 0.3
    intercept_variance: float = 0.3
    noise_per_day: float = 3e-3
    noise_per_label: float = 1e-7
    intercept_noise: float = 10.0
    full: bool = True

    def noise(self) -> F64:
        """(features + 1,) factors of the noise: 1, and `intercept_noise` for the intercept."""
        return np.append(np.ones(len(self.mean) - 1), self.intercept_noise)

    def doubt(self) -> F64:
        """(features + 1,) variances before any label."""
        return np.append(np.full(len(self.mean) - 1, self.variance), self.intercept_variance)


@njit(cache=True)
def _answer(margin: float, spread: float) -> float:
    """Log-odds of the mean sigmoid over N(margin, spread), by the probit approximation."""
    z = margin / np.sqrt(1.0 + _MACKAY * max(spread, 0.0))
    return float(min(max(z, -_MOST_MARGIN), _MOST_MARGIN))


@njit(cache=True)
def _step(margin: float, spread: float, y: Any) -> tuple[float, float]:
    """How far the weights go along k, and how much of k k' the covariances lose."""
    p = 1.0 / (1.0 + np.exp(-min(max(margin, -_MOST_MARGIN), _MOST_MARGIN)))
    h = max(p * (1.0 - p), _LEAST_H)
    gain = 1.0 / (1.0 + h * max(spread, 0.0))
    return gain * (y - p), gain * h


def sigmoid(log_odds: F64) -> F64:
    """Probabilities of (n,) log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


@njit(cache=True)
def _days(newest: int, time_ms: int) -> float:
    """Days since the last label."""
    return 0.0 if newest == _NEVER else min(max(time_ms - newest, 0) / _DAY_MS, _MOST_DAYS)


@njit(cache=True)
def _wander(w: Any, anchor: Any, variances: Any, stride: int, days: float, walk: Any) -> None:
    """Let time pass: weights go back to their anchor, variances `stride` apart grow."""
    rates, noise = walk
    if days > 0.0:
        kept, moved = _RETURN**days, 1.0 - 0.5 ** (days / _ANCHOR_DAYS)
        for j in range(len(noise)):
            anchor[j] += moved * (w[j] - anchor[j])
            w[j] = anchor[j] + kept * (w[j] - anchor[j])
    step = rates[0] * days + rates[1]
    for j in range(len(noise)):
        variances[j * stride] += step * noise[j]


@njit(cache=True)
def _follow(w: Any, anchor: Any, labels: float) -> None:
    """Let an anchor follow its weights; labels: learned so far, with this one."""
    rate = max(_ANCHOR_LABELS / (labels + _ANCHOR_LABELS), _ANCHOR_RATE)
    for j in range(len(w)):
        anchor[j] += rate * (w[j] - anchor[j])


@njit(cache=True, nogil=True)
def _learn_full(rows: Any, x: Any, y: Any, times: Any, tables: Any, walk: Any) -> Any:
    """Predict, then learn, row after row. Loops run along memory, so that they vectorise.

    tables: the columns of the bank. walk: noise per day and per label, its factors by weight.
    """
    weights, anchors, doubts, newest, labels = tables
    n, d = weights.shape[1], x.shape[1]
    out, k, z = np.empty(len(rows)), np.empty(n), np.ones(n)
    for i in range(len(rows)):
        row = rows[i]
        w, flat = weights[row], doubts[row]
        _wander(w, anchors[row], flat, n + 1, _days(newest[row], times[i]), walk)
        newest[row] = max(newest[row], times[i])
        labels[row] += 1.0
        z[:d] = x[i]
        k[:] = 0.0
        margin, spread = 0.0, 0.0
        for b in range(n):
            margin += w[b] * z[b]
            zb, start = z[b], b * n
            for a in range(n):
                k[a] += flat[start + a] * zb
        for a in range(n):
            spread += k[a] * z[a]
        out[i] = _answer(margin, spread)
        step, fall = _step(margin, spread, y[i])
        for a in range(n):
            w[a] += step * k[a]
            ka, start = k[a], a * n
            for b in range(n):
                flat[start + b] -= fall * (ka * k[b])
        _follow(w, anchors[row], labels[row])
    return out


@njit(cache=True, nogil=True)
def _learn_diagonal(rows: Any, x: Any, y: Any, times: Any, tables: Any, walk: Any) -> Any:
    """As `_learn_full` with variances alone."""
    weights, anchors, doubts, newest, labels = tables
    n, d = weights.shape[1], x.shape[1]
    out, z = np.empty(len(rows)), np.ones(n)
    for i in range(len(rows)):
        row = rows[i]
        w, variances = weights[row], doubts[row]
        _wander(w, anchors[row], variances, 1, _days(newest[row], times[i]), walk)
        newest[row] = max(newest[row], times[i])
        labels[row] += 1.0
        z[:d] = x[i]
        margin, spread = 0.0, 0.0
        for j in range(n):
            margin += w[j] * z[j]
            spread += variances[j] * z[j] * z[j]
        out[i] = _answer(margin, spread)
        step, fall = _step(margin, spread, y[i])
        for j in range(n):
            k = variances[j] * z[j]
            w[j] += step * k
            variances[j] -= fall * k * k
        _follow(w, anchors[row], labels[row])
    return out


@njit(cache=True, nogil=True)
def _answers(rows: Any, x: Any, times: Any, tables: Any) -> Any:
    """(n,) log-odds of rows at their times; the columns of the bank stay as they are."""
    weights, anchors, doubts, newest, _ = tables
    d = x.shape[1]
    n = d + 1
    full = doubts.shape[1] > n
    out, k, z = np.empty(len(rows)), np.empty(n), np.ones(n)
    for i in range(len(rows)):
        w, anchor, flat = weights[rows[i]], anchors[rows[i]], doubts[rows[i]]
        days = _days(newest[rows[i]], times[i])
        kept = 1.0 - 0.5 ** (days / _ANCHOR_DAYS)
        kept += (1.0 - kept) * _RETURN**days
        z[:d] = x[i]
        margin, spread = 0.0, 0.0
        if full:
            k[:] = 0.0
            for b in range(n):
                zb, start = z[b], b * n
                for a in range(n):
                    k[a] += flat[start + a] * zb
        for a in range(n):
            margin += (anchor[a] + kept * (w[a] - anchor[a])) * z[a]
            spread += (k[a] if full else flat[a] * z[a]) * z[a]
        out[i] = _answer(margin, spread)
    return out


class KalmanBank:
    """Dynamic logistic regressions of many clients over the same features.

    weights, anchors: (rows, features + 1), the intercept last. doubts: (rows, (features + 1) ** 2)
    if full, else (rows, features + 1). newest: (rows,) time of the last label, -1 before any.
    labels: (rows,) learned.
    """

    def __init__(self, features: int, settings: KalmanSettings) -> None:
        if len(settings.mean) != features + 1:
            msg = f"{len(settings.mean)} prior means for {features} features and an intercept"
            raise ValueError(msg)
        self.features = features
        self.settings = settings
        doubt = np.diag(settings.doubt()).ravel() if settings.full else settings.doubt()
        mean = np.array(settings.mean)
        self._walk = (settings.noise_per_day, settings.noise_per_label), settings.noise()
        self._fresh = {"weights": mean, "anchors": mean, "doubts": doubt}
        self._fresh |= {"newest": np.array(_NEVER), "labels": np.array(0.0)}
        self.weights: F64 = np.tile(mean, (_FIRST_ROWS, 1))
        self.anchors: F64 = self.weights.copy()
        self.doubts: F64 = np.tile(doubt, (_FIRST_ROWS, 1))
        self.newest: I64 = np.full(_FIRST_ROWS, _NEVER, np.int64)
        self.labels: F64 = np.zeros(_FIRST_ROWS)

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        have = len(self.newest)
        if clients <= have:
            return
        more = max(clients, 2 * have) - have
        for name, array in self.columns().items():
            fresh = np.broadcast_to(self._fresh[name], (more, *array.shape[1:]))
            setattr(self, name, np.concatenate([array, fresh]).astype(array.dtype))

    def columns(self) -> dict[str, NDArray[Any]]:
        """The state, one row per client."""
        return {name: getattr(self, name) for name in self._fresh}

    def predict(self, rows: I32, x: F64, times_ms: I64) -> F64:
        """Log-odds of y for n rows of (n, features) at their times; changes nothing."""
        out: F64 = _answers(rows, x, times_ms, tuple(self.columns().values()))
        return out

    def at(self, row: int, times_ms: I64) -> F64:
        """(n, features + 1) weights of one client as they will be at n times, intercept last."""
        days = np.clip((times_ms - self.newest[row]) / _DAY_MS, 0.0, _MOST_DAYS)
        days = np.zeros(len(times_ms)) if self.newest[row] == _NEVER else days
        kept = 1.0 - 0.5 ** (days / _ANCHOR_DAYS)
        kept += (1.0 - kept) * _RETURN**days
        anchor = self.anchors[row]
        return np.asarray(anchor + kept[:, None] * (self.weights[row] - anchor))

    def shrinkage(self, row: int, x: F64) -> F64:
        """(n,) factors by which the doubt about one client's weights shortens its log-odds."""
        z = np.column_stack([x, np.ones(len(x))])
        doubt = self.doubts[row]
        n = z.shape[1]
        full = doubt.reshape(n, n) if self.settings.full else np.diag(doubt)
        spread = np.einsum("ij,jk,ik->i", z, full, z)
        return np.asarray(1.0 / np.sqrt(1.0 + _MACKAY * np.maximum(spread, 0.0)))

    def learn(self, rows: I32, x: F64, y: NDArray[np.bool_], times_ms: I64) -> F64:
        """Predict each row, then learn it; return the log-odds from before learning."""
        settings = self.settings
        kernel = _learn_full if settings.full else _learn_diagonal
        out: F64 = kernel(
            rows,
            x,
            y,
            times_ms,
            tuple(self.columns().values()),
            self._walk,
        )
        return out


class KalmanLogistic(base.Classifier):
    """The same model behind River's interface, one client, by the formulas as they stand.

    `x` holds `time_ms` beside the features, which are those of the first row, in its order.
    """

    def __init__(self, settings: KalmanSettings) -> None:
        self.settings = settings
        self._w = self._anchor = np.array(settings.mean)
        self._labels = 0
        self._p = np.diag(settings.doubt())
        self._newest: int | None = None

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """Probability of the outcome."""
        z = self._row(x)
        _, w = self._returned(self._days(int(x["time_ms"])))
        p = self._mean(float(w @ z), float(z @ self._p @ z))
        return {True: p, False: 1.0 - p}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """One step of the filter."""
        z, time_ms, settings = self._row(x), int(x["time_ms"]), self.settings
        days = self._days(time_ms)
        self._newest = time_ms if self._newest is None else max(self._newest, time_ms)
        self._anchor, self._w = self._returned(days)
        walk = settings.noise_per_day * days + settings.noise_per_label
        self._p = self._p + np.diag(settings.noise() * walk)
        p = self._mean(float(self._w @ z), 0.0)
        h, k = max(p * (1 - p), _LEAST_H), self._p @ z
        gain = 1 / (1 + h * float(z @ k))
        self._w = self._w + gain * (y - p) * k
        fall = gain * h * np.outer(k, k)
        self._p = self._p - (fall if settings.full else np.diag(np.diag(fall)))
        self._labels += 1
        rate = max(_ANCHOR_LABELS / (self._labels + _ANCHOR_LABELS), _ANCHOR_RATE)
        self._anchor = self._anchor + rate * (self._w - self._anchor)

    def _days(self, time_ms: int) -> float:
        before = time_ms if self._newest is None else self._newest
        return float(min(max(time_ms - before, 0) / _DAY_MS, _MOST_DAYS))

    def _returned(self, days: float) -> tuple[F64, F64]:
        """Anchor and weights after so many days."""
        moved = 1 - 0.5 ** (days / _ANCHOR_DAYS)
        anchor = self._anchor + moved * (self._w - self._anchor)
        return anchor, anchor + _RETURN**days * (self._w - anchor)

    @staticmethod
    def _mean(margin: float, spread: float) -> float:
        z = margin / np.sqrt(1 + _MACKAY * spread)
        return float(1 / (1 + np.exp(-np.clip(z, -_MOST_MARGIN, _MOST_MARGIN))))

    @staticmethod
    def _row(x: dict[str, Any]) -> F64:
        return np.array([*(float(v) for name, v in x.items() if name != "time_ms"), 1.0])
