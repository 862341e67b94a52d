"""Dynamic logistic regression: weights that wander, followed by an extended Kalman filter.

The weights w of a client and target are a random walk; a label is a Bernoulli draw with log-odds
w . x. The filter keeps a Gaussian N(w, P) and takes each label by one Newton step (West, Harrison
and Migon 1985, dynamic generalised linear models; McCormick, Raftery, Madigan and Burd 2012,
dynamic logistic regression)::

    P += noise_per_day * days since the last label + noise_per_label        on the diagonal
    p  = 1 / (1 + exp(-w . x)),   h = max(p (1 - p), 0.001),   k = P x,   s = x . k
    w += k (y - p) / (1 + h s)
    P -= k k' h / (1 + h s)

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

__all__ = ["KalmanBank", "KalmanLogistic", "KalmanSettings", "probabilities"]

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
def _probability(margin: float, spread: float) -> float:
    """Mean of the sigmoid over N(margin, spread), by the probit approximation."""
    z = margin / np.sqrt(1.0 + _MACKAY * max(spread, 0.0))
    return float(1.0 / (1.0 + np.exp(-min(max(z, -_MOST_MARGIN), _MOST_MARGIN))))


@njit(cache=True)
def _slope(p: float) -> float:
    return max(p * (1.0 - p), _LEAST_H)


@njit(cache=True)
def _wander(variances: Any, stride: int, newest: int, time_ms: int, rates: Any, noise: Any) -> None:
    """Add the noise since the last label to a flat (d * stride) run of variances."""
    days = 0.0
    if newest != _NEVER:
        days = min(max(time_ms - newest, 0) / _DAY_MS, _MOST_DAYS)
    step = rates[0] * days + rates[1]
    for j in range(len(noise)):
        variances[j * stride] += step * noise[j]


@njit(cache=True)
def _learn_full(
    rows: Any, x: Any, y: Any, times: Any, weights: Any, doubts: Any, newest: Any, rates: Any,
    noise: Any,
) -> Any:  # fmt: skip
    """Predict, then learn, row after row. Loops run along memory, so that they vectorise."""
    n, d = len(noise), x.shape[1]
    out, k, z = np.empty(len(rows)), np.empty(n), np.ones(n)
    for i in range(len(rows)):
        row = rows[i]
        w, flat = weights[row], doubts[row]
        _wander(flat, n + 1, newest[row], times[i], rates, noise)
        newest[row] = max(newest[row], times[i])
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
        out[i] = _probability(margin, spread)
        p = _probability(margin, 0.0)
        gain = 1.0 / (1.0 + _slope(p) * max(spread, 0.0))
        step, fall = gain * (y[i] - p), gain * _slope(p)
        for a in range(n):
            w[a] += step * k[a]
            ka, start = k[a], a * n
            for b in range(n):
                flat[start + b] -= fall * (ka * k[b])
    return out


@njit(cache=True)
def _learn_diagonal(
    rows: Any, x: Any, y: Any, times: Any, weights: Any, doubts: Any, newest: Any, rates: Any,
    noise: Any,
) -> Any:  # fmt: skip
    """As `_learn_full` with variances alone."""
    n, d = len(noise), x.shape[1]
    out, z = np.empty(len(rows)), np.ones(n)
    for i in range(len(rows)):
        row = rows[i]
        w, variances = weights[row], doubts[row]
        _wander(variances, 1, newest[row], times[i], rates, noise)
        newest[row] = max(newest[row], times[i])
        z[:d] = x[i]
        margin, spread = 0.0, 0.0
        for j in range(n):
            margin += w[j] * z[j]
            spread += variances[j] * z[j] * z[j]
        out[i] = _probability(margin, spread)
        p = _probability(margin, 0.0)
        gain = 1.0 / (1.0 + _slope(p) * spread)
        step, fall = gain * (y[i] - p), gain * _slope(p)
        for j in range(n):
            k = variances[j] * z[j]
            w[j] += step * k
            variances[j] -= fall * k * k
    return out


@njit(cache=True)
def probabilities(rows: Any, x: Any, weights: Any, doubts: Any) -> Any:
    """(n,) answers for rows of x by (clients, d + 1) weights and their flat doubts."""
    d = x.shape[1]
    n = d + 1
    full = doubts.shape[1] > n
    out, z = np.empty(len(rows)), np.ones(n)
    for i in range(len(rows)):
        w, flat = weights[rows[i]], doubts[rows[i]]
        z[:d] = x[i]
        margin, spread = 0.0, 0.0
        for a in range(n):
            margin += w[a] * z[a]
            if full:
                k = 0.0
                for b in range(n):
                    k += flat[a * n + b] * z[b]
                spread += z[a] * k
            else:
                spread += flat[a] * z[a] * z[a]
        out[i] = _probability(margin, spread)
    return out


class KalmanBank:
    """Dynamic logistic regressions of many clients over the same features.

    weights: (rows, features + 1), the intercept last. doubts: (rows, (features + 1) ** 2) if full,
    else (rows, features + 1). newest: (rows,) time of the last label, -1 before any.
    """

    def __init__(self, features: int, settings: KalmanSettings) -> None:
        if len(settings.mean) != features + 1:
            msg = f"{len(settings.mean)} prior means for {features} features and an intercept"
            raise ValueError(msg)
        self.features = features
        self.settings = settings
        doubt = np.diag(settings.doubt()).ravel() if settings.full else settings.doubt()
        self._fresh = {"weights": np.array(settings.mean), "doubts": doubt, "newest": np.array(-1)}
        self.weights: F64 = np.tile(self._fresh["weights"], (_FIRST_ROWS, 1))
        self.doubts: F64 = np.tile(doubt, (_FIRST_ROWS, 1))
        self.newest: I64 = np.full(_FIRST_ROWS, _NEVER, np.int64)

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
        return {"weights": self.weights, "doubts": self.doubts, "newest": self.newest}

    def predict(self, rows: I32, x: F64) -> F64:
        """P(y) of n rows of (n, features); changes nothing."""
        out: F64 = probabilities(rows, x, self.weights, self.doubts)
        return out

    def learn(self, rows: I32, x: F64, y: NDArray[np.bool_], times_ms: I64) -> F64:
        """Predict each row, then learn it; return the predictions made before learning."""
        settings = self.settings
        kernel = _learn_full if settings.full else _learn_diagonal
        out: F64 = kernel(
            rows,
            x,
            y,
            times_ms,
            self.weights,
            self.doubts,
            self.newest,
            (settings.noise_per_day, settings.noise_per_label),
            settings.noise(),
        )
        return out


class KalmanLogistic(base.Classifier):
    """The same model behind River's interface, one client, by the formulas as they stand.

    `x` holds `time_ms` beside the features, which are those of the first row, in its order.
    """

    def __init__(self, settings: KalmanSettings) -> None:
        self.settings = settings
        self._w = np.array(settings.mean)
        self._p = np.diag(settings.doubt())
        self._newest: int | None = None

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """Probability of the outcome."""
        z = self._row(x)
        p = self._answer(float(self._w @ z), float(z @ self._p @ z))
        return {True: p, False: 1.0 - p}

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """One step of the filter."""
        z = self._row(x)
        self._p = self._p + np.diag(self.settings.noise() * self._noise(int(x["time_ms"])))
        p = self._answer(float(self._w @ z), 0.0)
        h, k = max(p * (1 - p), _LEAST_H), self._p @ z
        gain = 1 / (1 + h * float(z @ k))
        self._w = self._w + gain * (y - p) * k
        fall = gain * h * np.outer(k, k)
        self._p = self._p - (fall if self.settings.full else np.diag(np.diag(fall)))

    def _noise(self, time_ms: int) -> float:
        before = time_ms if self._newest is None else self._newest
        self._newest = max(before, time_ms)
        days = min(max(time_ms - before, 0) / _DAY_MS, _MOST_DAYS)
        return self.settings.noise_per_day * days + self.settings.noise_per_label

    @staticmethod
    def _answer(margin: float, spread: float) -> float:
        z = margin / np.sqrt(1 + _MACKAY * spread)
        return float(1 / (1 + np.exp(-np.clip(z, -_MOST_MARGIN, _MOST_MARGIN))))

    @staticmethod
    def _row(x: dict[str, Any]) -> F64:
        return np.array([*(float(v) for name, v in x.items() if name != "time_ms"), 1.0])
