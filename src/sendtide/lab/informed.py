"""What there is to learn: a policy that knows how the lab draws people, though not who is who.

Its posterior is Bayes' rule over a crowd of people drawn as those of the trial are (importance
sampling from the prior), with every hour's true hazard; it samples by Thompson while it learns.
No model that must learn the population from the same sends can be expected to estimate better
from what Thompson sampling sees, so its share of the oracle's lift is the measure of others'.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.lab.people import Outcomes, People

__all__ = ["Informed"]

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
_CROWD: Final = 5_000
_CROWD_SEED: Final = 1_000_003
_DAYS: Final = 4
"""Local days, from the one before, that windows of a day lie in, whatever the zone."""


class Informed:
    """Posterior over who each of the people is, of a crowd that are none of them."""

    def __init__(self, people: People, seed: int) -> None:
        self._people = people
        self._crowd = People(_CROWD, people.campaigns, _CROWD_SEED + seed)
        self._crowd.zone_hours[:] = 0
        self._rng = np.random.default_rng([seed, 4])
        self._logs: F32 = np.zeros((people.n, _CROWD), np.float32)

    def _weights(self) -> F32:
        weights: F32 = np.exp(self._logs - self._logs.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def choose(self, campaign: int, slots: I64, *, learning: bool) -> I64:
        """Best slot of a person drawn from the posterior; after learning, of the mean."""
        local = slots + self._people.zone_hours[:, None]
        first = (int(local.min()) // 24) * 24
        days = np.tile(first + np.arange(24 * _DAYS), (_CROWD, 1))
        truth = self._crowd.truth(campaign, days).astype(np.float32)
        weights = self._weights()
        if learning:
            draw = self._rng.random((len(slots), 1))
            drawn = (np.cumsum(weights, axis=1) < draw).sum(axis=1)
            told = truth[np.minimum(drawn, _CROWD - 1)]
        else:
            told = weights @ truth
        return np.asarray(np.take_along_axis(told, local - first, axis=1).argmax(axis=1))

    def learn(self, campaign: int, sent: I64, seen: Outcomes) -> None:
        """Multiply by the likelihood of the hour of the open, or of none."""
        local = sent + self._people.zone_hours
        age = np.where(seen.opened, np.nan_to_num(seen.delay_s) // 3600, -1).astype(np.int64)
        for hour in np.unique(local):
            happens, survives = self._hazards(campaign, int(hour))
            for person in np.flatnonzero(local == hour):
                self._logs[person] += survives[age[person]]
                if age[person] >= 0:
                    self._logs[person] += happens[age[person]]

    def _hazards(self, campaign: int, hour: int) -> tuple[Any, Any]:
        """(48, crowd) log P(open in an hour), and (49, crowd) of none before; the last of none."""
        hazards = self._crowd.hazards(campaign, np.full(_CROWD, hour)).T
        none = np.zeros((1, _CROWD))
        survives = np.concatenate([none, np.cumsum(np.log1p(-hazards), axis=0)])
        return np.log(hazards + 1e-12), survives
