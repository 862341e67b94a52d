"""Why a propensity is what it is: what each feature adds to the log-odds of its client's average.

For a linear score the Shapley values of independent features are `weight x (value - mean)`
(Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017, corollary 1), the
baseline being the score of the mean. Features here are not independent, so a contribution says what
the model does with a feature, never what causes an open. With w the weights at the row's time, m
the client's mean features, a and b slope and offset of its calibration, and
r(x) = 1 / sqrt(1 + pi x'Px / 8) the factor by which doubt about the weights shortens the score
(`kalman`)::

    baseline       = a r(m) (w . m + w0) + b
    contribution_j = a r(x) w_j (x_j - m_j)
    doubt          = a (r(x) - r(m)) (w . m + w0)

They add up to the log-odds of the answer: exactly, wherever the answer is not cut off at +-30.
A feature's importance for a client is the mean of |contribution| over its exposures, as of today's
weights: a r(m) |w_j| times the mean distance of x_j from its running mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData
from sendtide.models.kalman import KalmanBank
from sendtide.models.propensity import FEATURES, TARGETS, ClientRates
from sendtide.models.propensity_bank import PropensityBank, PropensitySettings
from sendtide.models.registry import ModelState

__all__ = ["ClientExplainer", "Explanation"]

F64 = NDArray[np.float64]

_ROW: Final = np.zeros(1, np.int32)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of n predictions, in log-odds, which are baseline + contributions.sum(axis=1) + doubt.

    baseline, doubt, log_odds: (n,). contributions, x: (n, len(FEATURES)).
    """

    baseline: F64
    contributions: F64
    doubt: F64
    log_odds: F64
    x: F64


class ClientExplainer:
    """One client's propensities out of its state on `ml.models`.

    Raises:
        CorruptData: the state is of another kind of model or another build.
    """

    def __init__(self, state: ModelState) -> None:
        if state.kind != "propensity":
            msg = f"{state.model!r} is of kind {state.kind!r}; only propensities have features"
            raise CorruptData(msg)
        learner = "sgd" if "bank.open.intercepts" in state.columns else "kalman"
        self.version = state.model_version
        self._bank = PropensityBank(PropensitySettings(learner))  # type: ignore[arg-type]
        self._rates = ClientRates(1)
        try:
            self._bank.put(slice(0, 1), state.columns)
            self._rates.put(slice(0, 1), state.columns)
        except (KeyError, ValueError) as error:
            msg = f"the propensities of {state.client_id!r} do not fit this build: {error!r}"
            raise CorruptData(msg) from error
        self.mean: F64 = self._rates.sums[:1] / max(int(self._rates.counts[0, 0]), 1)

    def features(self, history: Mapping[str, NDArray[Any]], content: NDArray[np.float32]) -> F64:
        """(n, len(FEATURES)) as the model sees them, out of the HISTORY_COLUMNS."""
        rows = np.zeros(len(content), np.int32)
        return self._rates.features(rows, history, content)

    def explain(self, target: str, x: F64, times_ms: NDArray[np.int64]) -> Explanation:
        """Take n predictions of one target apart, each as of its time."""
        place = TARGETS.index(target)
        weights, at_x, at_mean = self._weights(place, x, times_ms)
        slope, offset = self._bank.scalings[place].table[0, :2].tolist()
        average = weights[:, :-1] @ self.mean[0] + weights[:, -1]
        contributions = (slope * at_x)[:, None] * weights[:, :-1] * (x - self.mean)
        baseline = slope * at_mean * average + offset
        doubt = slope * (at_x - at_mean) * average
        log_odds = baseline + contributions.sum(axis=1) + doubt
        return Explanation(baseline, contributions, doubt, log_odds, x)

    def importance(self, target: str, time_ms: int) -> dict[str, float]:
        """Mean |contribution| of every feature over this client's exposures, largest first."""
        place = TARGETS.index(target)
        weights, _, at_mean = self._weights(place, self.mean, np.array([time_ms], np.int64))
        slope = abs(float(self._bank.scalings[place].table[0, 0]))
        away = self._rates.distances[0] / max(int(self._rates.counts[0, 0]), 1)
        sizes = slope * at_mean[0] * np.abs(weights[0, :-1]) * away
        order = np.argsort(-sizes, kind="stable").tolist()
        return {FEATURES[j]: float(sizes[j]) for j in order}

    def _weights(self, place: int, x: F64, times_ms: NDArray[np.int64]) -> tuple[F64, F64, F64]:
        """(n, features + 1) weights, and (n,) factors of doubt at x and at the mean."""
        bank, n = self._bank.banks[place], len(x)
        if isinstance(bank, KalmanBank):
            at_mean = np.repeat(bank.shrinkage(0, self.mean), n)
            return bank.at(0, times_ms), bank.shrinkage(0, x), at_mean
        # River's regression says nothing of doubt; before any label it is answered by the prior.
        own = np.append(bank.weights[0], bank.intercepts[0])
        weights = own if bank.counts[0] > 0 else self._bank.prior(place)
        return np.tile(weights, (n, 1)), np.ones(n), np.ones(n)
