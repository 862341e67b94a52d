"""Experiments in which nothing was done, looked at every day: how often is a lift announced.

Recipients open with chances of their own (logits of spread 1.2), are written to at rates of their
own, and have moods that last for weeks, so that a recipient's opens are alike beyond its chance.
Half of them join while the experiment runs. Weekdays differ, and every day has its own luck. All
of this is the same for both arms, but for `effect`, by which the odds of an open of the others are
multiplied in the runs that show power.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from sendtide.events.hashing import GROUPS
from sendtide.monitoring.lift import CONTROL, REST, judge_lift

__all__ = ["PlaceboCounts", "PlaceboSettings", "run_placebo", "simulate_counts"]

I64 = NDArray[np.int64]

_BASE_LOGIT: Final = -1.6
_SPREAD: Final = 1.2
_MOOD: Final = 0.7
_MOOD_KEPT: Final = 0.95
"""Of a mood, from day to day: half of it is left after two weeks."""
_WEEKDAYS: Final = np.array([0.15, 0.1, 0.05, 0.0, -0.1, -0.35, -0.25])
_DAY_LUCK: Final = 0.15
_NAIVE: Final = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboSettings:
    """recipients, days: of each run. control: share of recipients. scale: of the interval."""

    recipients: int = 5_000
    days: int = 60
    control: float = 0.1
    scale: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboCounts:
    """Of `runs`: how many ever said lift, or harm, and how many a z-test at each look called so."""

    runs: int
    lifts: int
    harms: int
    naive: int


def simulate_counts(
    settings: PlaceboSettings, effect: float, rng: np.random.Generator
) -> tuple[I64, I64]:
    """Sends and opens up to each day, (days, 2, GROUPS): what a client's counts would be."""
    n, days = settings.recipients, settings.days
    arm = np.where(rng.random(n) < settings.control, CONTROL, REST)
    cell = arm * GROUPS + rng.integers(0, GROUPS, n)
    chance = _BASE_LOGIT + _SPREAD * rng.normal(size=n) + np.log(effect) * (arm == REST)
    rate = rng.beta(1.5, 3.0, n)
    joined = rng.integers(-days, days, n)
    mood = _MOOD * rng.normal(size=n)
    fresh = _MOOD * np.sqrt(1 - _MOOD_KEPT**2)
    counts = np.zeros((2, days, 2 * GROUPS), np.int64)
    for day in range(days):
        mood = _MOOD_KEPT * mood + fresh * rng.normal(size=n)
        luck = _WEEKDAYS[day % 7] + _DAY_LUCK * rng.normal()
        sent = (rng.random(n) < rate) & (joined <= day)
        opened = sent & (rng.random(n) < expit(chance + mood + luck))
        for k, happened in enumerate((sent, opened)):
            counts[k, day] = np.bincount(cell[happened], minlength=2 * GROUPS)
    sends, opens = counts.cumsum(axis=1).reshape(2, days, 2, GROUPS)
    return sends, opens


def run_placebo(
    runs: int, effect: float, seed: int, settings: PlaceboSettings, advance: Callable[[], object]
) -> PlaceboCounts:
    """Run and look after every day; `advance` is called after each run."""
    lifts = harms = naive = 0
    for stream in np.random.SeedSequence(seed).spawn(runs):
        sends, opens = simulate_counts(settings, effect, np.random.default_rng(stream))
        verdicts = judge_lift(sends, opens, settings.scale).verdicts()
        lifts += "lift" in verdicts
        harms += "harm" in verdicts
        naive += bool(_naive_lifts(sends.sum(axis=-1), opens.sum(axis=-1)).any())
        advance()
    return PlaceboCounts(runs=runs, lifts=lifts, harms=harms, naive=naive)


def _naive_lifts(sends: I64, opens: I64) -> NDArray[np.bool_]:
    """Looks, (days, 2) counts, at which a two-sided z-test of two rates calls a lift at 5%."""
    rates = opens / np.maximum(sends, 1)
    pooled = opens.sum(axis=1) / np.maximum(sends.sum(axis=1), 1)
    error = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(sends, 1)).sum(axis=1))
    return np.asarray(rates[:, REST] - rates[:, CONTROL] > _NAIVE * error)
