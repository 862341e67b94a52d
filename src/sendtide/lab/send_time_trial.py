"""Policies side by side, each in its own copy of a world with known truth.

A campaign every five days (so that all weekdays come) begins at the sender's habitual hour, with a
window of a day. Predict, send, then learn. After the last one each policy names its best slots in
the windows of the next seven days, without exploring, and is judged by their true probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.clients import LiftSummary
from sendtide.lab.informed import Informed
from sendtide.lab.own_policy import MachinesTold, Sendtide
from sendtide.lab.people import HABIT_HOUR, People
from sendtide.lab.rules import (
    BrontoRule,
    ClientBestHour,
    Now,
    OpenHistogram,
    Oracle,
    Policy,
    RandomSlot,
    RiverLogistic,
    Thompson12,
)

__all__ = ["POLICIES", "TrialResult", "TrialSettings", "calibration_error", "run_trial"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_FIRST_HOUR: Final = 20_454 * 24 + HABIT_HOUR
"""10:00 UTC on the first day of 2026."""
_STEP_DAYS: Final = 5
_SLOTS: Final = 24
_JUDGED_DAYS: Final = 7
_BINS: Final = 15
POLICIES: Final = (
    *("sendtide", "random", "client_best_hour", "open_histogram", "bronto_rule", "thompson_12"),
    *("river_logistic", "informed", "now", "oracle"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """seed: of people and draws. sends: to each recipient while policies learn."""

    seed: int = 1
    recipients: int = 3_000
    sends: int = 30
    explore_share: float = 1.0
    control_share: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """What came out; names are the keys of `sendtide lab simulate --json`.

    oracle_lift_share: of the oracle's lift in true P(open) over sending now, after the last send;
    `informed` is what a learner who knows how people are drawn gets of it.
    open_probability: true, of the slots each policy names then. regret: true P(open) of the best
    slot less that of the chosen one, mean over all sends of learning. interval_coverage: share of
    recipients' slots whose 95% interval holds the truth. ece: expected calibration error of what
    Sendtide told of the slots it chose, before each outcome, over 15 equal-width bins.
    machines: how it told machines from people.
    control_group: Sendtide's recipients beside its own control group in the end, by outcome.
    """

    seed: int
    recipients: int
    sends: int
    oracle_lift_share: dict[str, float]
    open_probability: dict[str, float]
    regret: dict[str, float]
    interval_coverage: float
    ece: float
    control_group: dict[str, LiftSummary]
    machines: MachinesTold


def calibration_error(predicted: F64, opened: NDArray[np.bool_], bins: int = _BINS) -> float:
    """Expected calibration error: mean |predicted - observed| of equal-width bins, by their sizes.

    Naeini, Cooper, Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning".
    """
    place = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    gap = np.bincount(place, predicted - opened, bins)
    return float(np.abs(gap).sum() / len(predicted))


def _slots(day: int, n: int) -> I64:
    """(n, 24) hours since 1970 of the window that begins on a day of the trial."""
    return np.tile(_FIRST_HOUR + day * 24 + np.arange(_SLOTS), (n, 1))


def _makers(people: People, settings: TrialSettings) -> dict[str, Callable[[], Policy]]:
    rules = (
        RandomSlot,
        ClientBestHour,
        OpenHistogram,
        BrontoRule,
        Thompson12,
        RiverLogistic,
        Informed,
    )
    rules_by_name = dict(zip(POLICIES[1:], (*rules, Now, Oracle), strict=True))
    shares = settings.explore_share, settings.control_share
    return {
        "sendtide": lambda: Sendtide(people, *shares),
        **{n: lambda make=make: make(people, settings.seed) for n, make in rules_by_name.items()},  # type: ignore[misc]
    }


def _campaigns(people: People) -> list[tuple[I64, F64]]:
    """Slots and their truths of each campaign."""
    every = [_slots(campaign * _STEP_DAYS, people.n) for campaign in range(people.campaigns)]
    return [(slots, people.truth(campaign, slots)) for campaign, slots in enumerate(every)]


def _learn(
    policy: Policy, people: People, campaigns: list[tuple[I64, F64]], regrets: list[float]
) -> Iterator[None]:
    """Send every campaign; a step each."""
    for campaign, (slots, truth) in enumerate(campaigns):
        chosen = policy.choose(campaign, slots, learning=True)
        rows = np.arange(people.n)
        regrets.append(float((truth.max(axis=1) - truth[rows, chosen]).mean()))
        sent = slots[rows, chosen]
        policy.learn(campaign, sent, people.react(campaign, sent))
        yield


def _judged_windows(people: People) -> list[tuple[I64, F64]]:
    """Slots and their truths on the days after the last campaign."""
    first = people.campaigns * _STEP_DAYS
    windows = [_slots(first + day, people.n) for day in range(_JUDGED_DAYS)]
    return [(slots, people.truth(people.campaigns, slots)) for slots in windows]


def _value(policy: Policy, people: People, windows: list[tuple[I64, F64]]) -> float:
    """Mean true P(open) of the slots a policy names."""
    rows = np.arange(people.n)
    found = [
        truth[rows, policy.choose(people.campaigns, slots, learning=False)].mean()
        for slots, truth in windows
    ]
    return float(np.mean(found))


def run_trial(settings: TrialSettings, step: Callable[[], None]) -> TrialResult:
    """Run all policies; `step` is called after each campaign of each."""
    people = People(settings.recipients, settings.sends, settings.seed)
    campaigns, windows = _campaigns(people), _judged_windows(people)
    values, regret = {}, {}
    for name, make in _makers(people, settings).items():
        policy, regrets = make(), list[float]()
        for _ in _learn(policy, people, campaigns, regrets):
            step()
        values[name], regret[name] = _value(policy, people, windows), float(np.mean(regrets))
        if isinstance(policy, Sendtide):
            coverage, ece = _trust(policy, windows)
            machines = policy.machines()
            control_group = dict(zip(("open", "click"), policy.lifts(), strict=True))
    lift = values["oracle"] - values["now"]
    return TrialResult(
        seed=settings.seed,
        recipients=settings.recipients,
        sends=settings.sends,
        oracle_lift_share={
            name: (value - values["now"]) / lift
            for name, value in values.items()
            if name not in {"now", "oracle"}
        },
        open_probability=values,
        regret=regret,
        interval_coverage=coverage,
        ece=ece,
        control_group=control_group,
        machines=machines,
    )


def _trust(policy: Sendtide, windows: list[tuple[I64, F64]]) -> tuple[float, float]:
    """Coverage of the intervals, calibration error."""
    inside = []
    for slots, truth in windows:
        _, low, high = policy.probabilities(slots)
        inside.append(((low <= truth) & (truth <= high)).mean())
    told, opened = np.concatenate(policy.predicted), np.concatenate(policy.opened)
    return float(np.mean(inside)), calibration_error(told, opened)
