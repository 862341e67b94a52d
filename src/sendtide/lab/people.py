"""People with rhythms of their own: the truth of `sendtide lab simulate`, which only the lab sees.

A message is opened when its recipient is at the mailbox and it has not yet sunk from sight: in the
hour that begins `a` whole hours after the send, with probability `attention * freshness(a)` if it
was not opened before. So whoever opens hours later does so at an hour when they read mail; that
time to open is a hazard, with never-openers apart, is how Adobe describes its logs (arXiv
1908.06512, 2004.09900). Nothing here is of the send-time model's family: attention is up to two
Gaussian bumps of personal hour, width and height over a personal floor, in probabilities, later at
weekends for some, drifting for some, and a message sinks for each at another pace.

The free numbers are set by what is known of real mail, at the habit's slot: open rates of
recipients are as spread as a Beta(0.42, 1.41), those of 16,291 recipients of a real newsletter as a
Beta(0.39, 1.42); about half of the opens come in the first hour and two thirds in two, where
providers tell of a quarter to a half in one, three quarters in two, and a peak in the first two.
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
_HOURS: Final = 48
"""After so many nobody opens any more."""
_MOST: Final = 0.95
_KINDS_OF_MACHINES: Final = np.array([[0.25], [0.25]])
"""Shares that take 12 to 45 s, where others take 1 to 9, and that try all links."""
_MARKED: Final = 0.5


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What became of n sends. delay_s: to the first open by a person, NaN if none.

    machine: a machine opened it, after machine_delay_s; marked: and was told to be one; scanned:
    it tried all links as well, at once.
    """

    opened: NDArray[np.bool_]
    delay_s: F64
    clicked: NDArray[np.bool_]
    machine: NDArray[np.bool_]
    machine_delay_s: F64
    marked: NDArray[np.bool_]
    scanned: NDArray[np.bool_]


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
        self._height = rng.beta(0.5, 0.9, n)
        self._second_share = np.where(rng.random(n) < 0.4, rng.uniform(0.1, 0.6, n), 0)
        self._floor = rng.beta(1.2, 40, n)
        never = rng.random(n) < 0.2
        for part in (self._height, self._floor):
            part[never] = 0.002
        self.machine = rng.random(n) < 0.1
        self._weekend_shift = np.where(rng.random(n) < 0.5, rng.uniform(0.5, 2.5, n), 0)
        self._drift = np.where(rng.random(n) < 0.25, rng.normal(0, 1.5, n), 0)
        self._tires = rng.uniform(0, 0.1, n)
        self._fresh = self._freshness(rng)
        kinds = np.random.default_rng([seed, 4])
        self._slow, self._scans = kinds.random((2, n)) < _KINDS_OF_MACHINES

    def _freshness(self, rng: np.random.Generator) -> F64:
        """(n, 48) how visible a message still is, by whole hours since it came."""
        hours = np.arange(_HOURS)
        sinks = 2.0 * np.exp(0.5 * rng.standard_normal((self.n, 1)))
        kept = rng.beta(1.2, 58.8, (self.n, 1))
        return np.asarray((1 - kept) * np.exp(-hours / sinks) + kept * np.exp(-hours / 12))

    def attention(self, campaign: int, local_hours: I64) -> F64:
        """P(open) within each of these local hours since 1970, (n, s), of a message just come."""
        weekday: I64 = (local_hours // 24 + 3) % 7
        hour = (local_hours % 24 + 0.5).astype(np.float64)
        shift = self._drift * campaign / self.campaigns
        late: F64 = np.where(weekday >= 5, self._weekend_shift[:, None], 0)
        main = self._bump(hour - late, self._hour + shift, self._width)
        second = self._bump(hour - late, self._second_hour + shift, self._second_width)
        shape = np.maximum(main, self._second_share[:, None] * second)
        season = 1 + 0.08 * np.sin(2 * np.pi * (local_hours / 24 % _DAYS_PER_YEAR) / _DAYS_PER_YEAR)
        tired = 1 - self._tires[:, None] * min(1.0, campaign / self.campaigns)
        level = self._floor[:, None] + self._height[:, None] * shape
        return np.asarray(np.clip(level * season * tired * (1 + _WEEKDAY[weekday]), 0, _MOST))

    @staticmethod
    def _bump(hours: F64, centre: F64, width: F64) -> F64:
        away = (hours - centre[:, None] + 12) % 24 - 12
        return np.exp(-0.5 * (away / width[:, None]) ** 2)

    def truth(self, campaign: int, sent_hours: I64) -> F64:
        """P(open) of messages sent in these hours since 1970 (n, s), whenever it comes."""
        first, last = int(sent_hours.min()), int(sent_hours.max())
        span = np.arange(first, last + _HOURS) + self.zone_hours[:, None]
        attention, starts = self.attention(campaign, span), last + 1 - first
        unopened = np.zeros((self.n, starts))
        for age in range(_HOURS):
            unopened += np.log1p(-attention[:, age : age + starts] * self._fresh[:, age : age + 1])
        return np.asarray(-np.expm1(np.take_along_axis(unopened, sent_hours - first, axis=1)))

    def hazards(self, campaign: int, sent_hours: I64) -> F64:
        """(n, 48) P(open) in each whole hour after the send of one message to each, if not yet."""
        local = (sent_hours + self.zone_hours)[:, None] + np.arange(_HOURS)
        return self.attention(campaign, local) * self._fresh

    def react(self, campaign: int, sent_hours: I64) -> Outcomes:
        """What becomes of one message to each, sent in hour (n,); the same draws for any policy."""
        rng = np.random.default_rng([self._seed, 2, campaign])
        chance = rng.random((self.n, _HOURS))
        click, machine, within = rng.random((3, self.n))
        at_once_s = np.minimum(60 * np.exp(np.log(15) + rng.standard_normal(self.n)), 3_599)
        happens = chance < self.hazards(campaign, sent_hours)
        opened, age = np.asarray(happens.any(axis=1)), happens.argmax(axis=1)
        delay = np.where(age == 0, at_once_s, 3_600.0 * (age + within))
        return Outcomes(
            opened=opened,
            delay_s=np.where(opened, delay, np.nan),
            clicked=opened & (click < 0.15),
            machine=self.machine & (machine < 0.9),
            **self._machines(campaign),
        )

    def _machines(self, campaign: int) -> dict[str, Any]:
        """How the machines act on one message to each; draws of their own."""
        rng = np.random.default_rng([self._seed, 5, campaign])
        low, high = np.where(self._slow, 12, 1), np.where(self._slow, 45, 9)
        return {
            "machine_delay_s": rng.uniform(low, high),
            "marked": rng.random(self.n) < _MARKED,
            "scanned": self._scans,
        }
