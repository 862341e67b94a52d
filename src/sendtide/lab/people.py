"""People with rhythms of their own: the truth of `sendtide lab simulate`, which only the lab sees.

Nothing here is of the send-time model's family: a person's attention is up to two Gaussian bumps of
personal hour, width and height over a personal floor, in probabilities, later at weekends for some,
drifting for some; opens that are not prompt come whenever; delays are lognormal and exponential.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["HABIT_HOUR", "Outcomes", "People"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

HABIT_HOUR: Final = 10
"""Hour (UTC) of every campaign: the sender's habit, and what "send now" means."""
_ZONE_HOURS: Final = np.array([-8, -5, 0, 1, 2, 5, 9])
_WEEKDAY: Final = np.array([0.05, 0.08, 0.04, 0.02, -0.05, -0.12, -0.06])
"""Relative change of attention, Monday first."""
_DAYS_PER_YEAR: Final = 365.25


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What became of n sends. delay_s: to the first open by a person, NaN if none."""

    opened: NDArray[np.bool_]
    delay_s: F64
    clicked: NDArray[np.bool_]
    machine: NDArray[np.bool_]


class People:
    """n recipients of one client.

    Attributes:
        zone_hours: (n,) offset from UTC. campaigns: sends each gets while policies learn.
    """

    def __init__(self, n: int, campaigns: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        self.n, self.campaigns, self._seed = n, campaigns, seed
        self.zone_hours: I64 = rng.choice(_ZONE_HOURS, n, p=[0.1, 0.2, 0.2, 0.25, 0.1, 0.05, 0.1])
        centre = rng.choice([7.5, 12.5, 20.5], n, p=[0.3, 0.25, 0.45])
        self._hour = (centre + rng.normal(0, 1.6, n)) % 24
        self._second_hour = (self._hour + rng.uniform(4, 14, n)) % 24
        self._width, self._second_width = rng.uniform(1.5, 4.0, (2, n))
        self._height = rng.beta(2.2, 2.8, n)
        self._second_share = np.where(rng.random(n) < 0.4, rng.uniform(0.1, 0.6, n), 0)
        self._floor = rng.beta(1.2, 40, n)
        self._late = rng.beta(1.2, 18, n)
        never = rng.random(n) < 0.2
        for part in (self._height, self._floor, self._late):
            part[never] = 0.002
        self.machine = rng.random(n) < 0.1
        self._weekend_shift = np.where(rng.random(n) < 0.5, rng.uniform(0.5, 2.5, n), 0)
        self._drift = np.where(rng.random(n) < 0.25, rng.normal(0, 1.5, n), 0)
        self._tires = rng.uniform(0, 0.1, n)

    def attention(self, campaign: int, day: Any, local_hours: Any, weekday: I64) -> F64:
        """P(prompt open) of messages sent at local hours (n, s); day: of the year, (n, 1)."""
        shift = self._drift * campaign / self.campaigns
        late = np.where(weekday >= 5, self._weekend_shift[:, None], 0)
        main = self._bump(local_hours - late, self._hour + shift, self._width)
        second = self._bump(local_hours - late, self._second_hour + shift, self._second_width)
        shape = np.maximum(main, self._second_share[:, None] * second)
        season = 1 + 0.08 * np.sin(2 * np.pi * day / _DAYS_PER_YEAR)
        tired = 1 - self._tires[:, None] * min(1.0, campaign / self.campaigns)
        level = self._floor[:, None] + self._height[:, None] * shape
        return np.asarray(np.clip(level * season * tired * (1 + _WEEKDAY[weekday]), 0, 0.95))

    @staticmethod
    def _bump(hours: F64, centre: F64, width: F64) -> F64:
        away = (hours - centre[:, None] + 12) % 24 - 12
        return np.exp(-0.5 * (away / width[:, None]) ** 2)

    def truth(self, campaign: int, sent_hours: I64) -> F64:
        """P(open) of messages sent in these hours since 1970 (n, s), on average over the hour."""
        local = sent_hours + self.zone_hours[:, None]
        weekday = (local // 24 + 3) % 7
        prompt = self.attention(campaign, local / 24 % _DAYS_PER_YEAR, local % 24 + 0.5, weekday)
        return np.asarray(prompt + (1 - prompt) * self._late[:, None])

    def react(self, campaign: int, sent_hours: I64) -> Outcomes:
        """What becomes of one message to each, sent in hour (n,); the same draws for any policy."""
        rng = np.random.default_rng([self._seed, 2, campaign])
        chance, late_chance, click, machine = rng.random((4, self.n))
        local = (sent_hours + self.zone_hours)[:, None]
        weekday = (local // 24 + 3) % 7
        p = self.attention(campaign, local / 24 % _DAYS_PER_YEAR, local % 24 + 0.5, weekday)[:, 0]
        prompt, later = chance < p, late_chance < self._late
        prompt_s = 60 * np.exp(np.log(22) + 1.2 * rng.standard_normal(self.n))
        later_s = 60 + rng.exponential(11 * 3600, self.n)
        delay = np.where(prompt, prompt_s, np.where(later, later_s, np.nan))
        delay = np.minimum(delay, 2.9 * 86_400)
        return Outcomes(
            opened=prompt | later,
            delay_s=delay,
            clicked=(prompt | later) & (click < 0.15),
            machine=self.machine & (machine < 0.9),
        )
