"""A bank of logistic regressions, one row of weights per client, learned in one compiled loop.

The arithmetic is River 0.26's, step by step, in the same order: `preprocessing.StandardScaler`
(Welford's running mean and variance), `linear_model.LogisticRegression` with `optim.SGD` and the
logistic loss with its two linear tails beyond |18|. So a bank of one client gives River's numbers,
and a bank of thousands gives what thousands of River models would, at the speed of a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["LinearBank", "LinearSettings"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

_TAIL: Final = 18.0
"""Beyond this margin River's logistic loss goes over to its asymptotes."""
_FIRST_ROWS: Final = 16


@dataclass(frozen=True, slots=True)
class LinearSettings:
    """As River's parameters: learning rates of SGD and of the intercept, l2 penalty, scaling."""

    learning_rate: float = 0.01
    intercept_learning_rate: float = 0.01
    l2: float = 0.0
    scale: bool = False


@njit(cache=True)
def _sigmoid(value: float) -> Any:
    """River's `utils.math.sigmoid`: exactly 0 and 1 beyond 30."""
    if value < -30.0:
        return 0.0
    if value > 30.0:
        return 1.0
    return 1.0 / (1.0 + np.exp(-value))


@njit(cache=True)
def _loss_gradient(positive: bool, margin: float) -> Any:
    """River's `optim.losses.Log.gradient`."""
    sign = 1.0 if positive else -1.0
    z = margin * sign
    if z > _TAIL:
        return np.exp(-z) * -sign
    if z < -_TAIL:
        return -sign
    return -sign / (np.exp(z) + 1.0)


@njit(cache=True)
def _observe(x: Any, count: float, means: Any, variances: Any) -> None:
    """Let the scaler see one row; `count` includes it."""
    for j in range(len(x)):
        old = means[j]
        means[j] += (x[j] - old) / count
        variances[j] += ((x[j] - old) * (x[j] - means[j]) - variances[j]) / count


@njit(cache=True)
def _scaled(x: Any, means: Any, variances: Any, out: Any) -> None:
    for j in range(len(x)):
        out[j] = (x[j] - means[j]) / variances[j] ** 0.5 if variances[j] != 0.0 else 0.0


@njit(cache=True)
def _margin(x: Any, weights: Any, intercept: float) -> float:
    total = 0.0
    for j in range(len(x)):
        total += weights[j] * x[j]
    return total + intercept


@njit(cache=True)
def _predict_rows(
    rows: Any, x: Any, weights: Any, intercepts: Any, means: Any, variances: Any, scale: bool
) -> Any:
    out = np.empty(len(rows), np.float64)
    z = np.empty(x.shape[1], np.float64)
    for i in range(len(rows)):
        row = rows[i]
        if scale:
            _scaled(x[i], means[row], variances[row], z)
        else:
            z[:] = x[i]
        out[i] = _sigmoid(_margin(z, weights[row], intercepts[row]))
    return out


@njit(cache=True)
def _learn_rows(
    rows: Any, x: Any, y: Any, weights: Any, intercepts: Any, counts: Any, rates: Any
) -> Any:
    """Predict, then learn, row after row; return the predictions.

    Indexed by hand: slices passed to small functions cost more than the arithmetic.
    """
    learning_rate, intercept_rate, l2 = rates
    features = x.shape[1]
    out = np.empty(len(rows), np.float64)
    for i in range(len(rows)):
        row = rows[i]
        margin = 0.0
        for j in range(features):
            margin += weights[row, j] * x[i, j]
        margin += intercepts[row]
        out[i] = _sigmoid(margin)
        counts[row] += 1.0
        gradient = _loss_gradient(y[i], margin)
        intercepts[row] -= intercept_rate * gradient
        for j in range(features):
            step = gradient * x[i, j] + l2 * weights[row, j]
            weights[row, j] -= learning_rate * step
    return out


@njit(cache=True)
def _learn_scaled_rows(
    rows: Any,
    x: Any,
    y: Any,
    weights: Any,
    intercepts: Any,
    counts: Any,
    means: Any,
    variances: Any,
    rates: Any,
) -> Any:
    """As `_learn_rows` behind a scaler: it transforms, and sees the row before the model learns."""
    learning_rate, intercept_rate, l2 = rates
    out = np.empty(len(rows), np.float64)
    z = np.empty(x.shape[1], np.float64)
    for i in range(len(rows)):
        row = rows[i]
        w = weights[row]
        _scaled(x[i], means[row], variances[row], z)
        out[i] = _sigmoid(_margin(z, w, intercepts[row]))
        counts[row] += 1.0
        _observe(x[i], counts[row], means[row], variances[row])
        _scaled(x[i], means[row], variances[row], z)
        gradient = _loss_gradient(y[i], _margin(z, w, intercepts[row]))
        intercepts[row] -= intercept_rate * gradient
        for j in range(len(z)):
            w[j] -= learning_rate * (gradient * z[j] + l2 * w[j])
    return out


class LinearBank:
    """Logistic regressions of many clients over the same features.

    Rows are addressed by a dense client index; `grow` makes room for more clients, which start
    with zero weights, as River's models do.
    """

    def __init__(self, features: int, settings: LinearSettings) -> None:
        self.features = features
        self.settings = settings
        self.weights: F64 = np.zeros((_FIRST_ROWS, features))
        self.intercepts: F64 = np.zeros(_FIRST_ROWS)
        self.counts: F64 = np.zeros(_FIRST_ROWS)
        self.means: F64 = np.zeros((_FIRST_ROWS, features))
        self.variances: F64 = np.zeros((_FIRST_ROWS, features))

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        size = len(self.counts)
        while size < clients:
            size *= 2
        for name, array in self.columns().items():
            if size > len(array):
                wider = np.zeros((size, *array.shape[1:]))
                wider[: len(array)] = array
                setattr(self, name, wider)

    def columns(self) -> dict[str, F64]:
        """The state, one row per client."""
        return {
            "weights": self.weights,
            "intercepts": self.intercepts,
            "counts": self.counts,
            "means": self.means,
            "variances": self.variances,
        }

    def predict(self, rows: I32, x: F64) -> F64:
        """P(y) of n rows of (n, features), each by its client's weights; changes nothing."""
        out: F64 = _predict_rows(
            rows, x, self.weights, self.intercepts, self.means, self.variances, self.settings.scale
        )
        return out

    def learn(self, rows: I32, x: F64, y: NDArray[np.bool_]) -> F64:
        """Predict each row, then learn it; return the predictions made before learning."""
        settings = self.settings
        rates = (settings.learning_rate, settings.intercept_learning_rate, settings.l2)
        out: F64
        if settings.scale:
            out = _learn_scaled_rows(rows, x, y, *self.columns().values(), rates)
        else:
            out = _learn_rows(rows, x, y, self.weights, self.intercepts, self.counts, rates)
        return out
