"""All five propensities of many clients: one feature row in, five calibrated probabilities out.

Each target has a bank of its own, since their labels differ by a factor of a thousand: opens by
dynamic logistic regression with full covariance, the rarer ones with variances alone, which are
too few labels to tell two weights apart. Or, where a pipeline says so, River's logistic regression
with SGD (`bank`).

Behind each is an online Platt scaling (`platt`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.models.bank import LinearBank, LinearSettings
from sendtide.models.kalman import KalmanBank, KalmanSettings, sigmoid
from sendtide.models.platt import PlattScaling
from sendtide.models.propensity import FEATURES, PRIOR_RATES, TARGETS

__all__ = ["Learner", "PropensityBank", "PropensitySettings"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

Learner = Literal["kalman", "sgd"]


def _before_any_label() -> tuple[KalmanSettings, ...]:
    """Settings of each target: the recipient's own rates for opens and clicks, else the trade's."""
    place = {name: FEATURES.index(name) for name in FEATURES}
    out = []
    for target, rate in zip(TARGETS, PRIOR_RATES, strict=True):
        mean = np.zeros(len(FEATURES) + 1)
        if target == "open":
            mean[place["lifetime_log_odds"]] = mean[place["recent_log_odds"]] = 1.0
            out.append(KalmanSettings(mean=tuple(mean.tolist())))
            continue
        if target == "click":
            mean[place["click_log_odds"]] = 3.0
        else:
            mean[-1] = np.log(rate / (1 - rate))
        out.append(
            KalmanSettings(
                mean=tuple(mean.tolist()), variance=0.03, intercept_variance=0.25, full=False
            )
        )
    return tuple(out)


_KALMAN: Final = _before_any_label()


@dataclass(frozen=True, slots=True)
class PropensitySettings:
    """learner: of the banks. linear: of "sgd". calibrated: with Platt scaling behind them."""

    learner: Learner = "kalman"
    linear: LinearSettings = field(default_factory=LinearSettings)
    calibrated: bool = True


@njit(cache=True)
def _log_odds(p: Any) -> Any:
    """Log-odds of probabilities kept 1e-12 from 0 and 1 (River's SGD gives both)."""
    out = np.empty(len(p))
    for i in range(len(p)):
        q = min(max(p[i], 1e-12), 1.0 - 1e-12)
        out[i] = np.log(q / (1.0 - q))
    return out


class PropensityBank:
    """Rows are clients; targets are in the order of TARGETS."""

    def __init__(self, settings: PropensitySettings) -> None:
        self.settings = settings
        self.banks: list[KalmanBank | LinearBank] = [
            KalmanBank(len(FEATURES), own)
            if settings.learner == "kalman"
            else LinearBank(len(FEATURES), settings.linear)
            for own in _KALMAN
        ]
        self.scalings = [PlattScaling() for _ in TARGETS]

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        for bank in (*self.banks, *self.scalings):
            bank.grow(clients)

    def predict(self, rows: I32, x: F64, times_ms: I64, targets: int = len(TARGETS)) -> F64:
        """(n, targets) probabilities of the first targets at n times; changes nothing."""
        out = np.empty((len(rows), targets))
        for target in range(targets):
            z = self._raw(target, rows, x, times_ms)
            scaling = self.scalings[target]
            out[:, target] = scaling.predict(rows, z) if self.settings.calibrated else sigmoid(z)
        return out

    def _raw(self, target: int, rows: I32, x: F64, times_ms: I64) -> F64:
        """A bank's own log-odds; before any label, those of the prior, which River's lack."""
        bank = self.banks[target]
        if isinstance(bank, KalmanBank):
            return bank.predict(rows, x, times_ms)
        mean = self.prior(target)
        prior = x @ mean[:-1] + mean[-1]
        own = _log_odds(bank.predict(rows, x))
        return np.asarray(np.where(bank.counts[rows] > 0, own, prior))

    @staticmethod
    def prior(target: int) -> F64:
        """(features + 1,) weights of one target before any label, the intercept last."""
        return np.array(_KALMAN[target].mean)

    def learn(self, target: int, rows: I32, x: F64, y: NDArray[np.bool_], times_ms: I64) -> F64:
        """Predict each row's target, then learn it; return what was predicted before."""
        bank = self.banks[target]
        if isinstance(bank, KalmanBank):
            z = bank.learn(rows, x, y, times_ms)
        else:
            z = _log_odds(bank.learn(rows, x, y))
        return self.scalings[target].learn(rows, z, y) if self.settings.calibrated else sigmoid(z)

    def columns(self, rows: slice) -> Columns:
        """Copies of the state of some clients, by target and name."""
        return {name: array[rows].copy() for name, array in self._tables()}

    def put(self, rows: slice, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `columns` gave.

        Raises:
            KeyError: of another learner. ValueError: of another set of features.
        """
        self.grow(rows.stop)
        for name, array in self._tables():
            array[rows] = columns[name]

    def _tables(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for target, bank, scaling in zip(TARGETS, self.banks, self.scalings, strict=True):
            yield from ((f"bank.{target}.{name}", a) for name, a in bank.columns().items())
            yield from ((f"scaling.{target}.{name}", a) for name, a in scaling.columns().items())
