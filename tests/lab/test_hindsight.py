"""What other hours would have brought: against closed forms, and where nothing may be said."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide import lab
from sendtide.events.rhythm import BIN_HOURS, BINS
from sendtide.lab.backtest import Foreseen


def world(seed, *, people=150, days=40, told=0.05, effect=1.0, habit=None):
    """A log of one send a person and day at drawn hours, and what a model told of each before.

    Returns (Foreseen, Sent, the true P(open) of every send in every bin).
    """
    rng = np.random.default_rng(seed)
    n = people * days
    person, day = np.tile(np.arange(people), days), np.repeat(np.arange(days), people)
    true = np.clip(0.25 + effect * rng.normal(0, 0.12, (people, BINS)), 0.02, 0.9)[person]
    bins = rng.choice(BINS, n, p=np.full(BINS, 1 / BINS) if habit is None else habit)
    seen = Foreseen.of(n)
    seen.labelled[:] = True
    at = np.arange(n)
    seen.facts[:, 0] = rng.random(n) < true[at, bins]
    seen.by_bin[:] = np.clip(true + rng.normal(0, told, true.shape), 0.01, 0.99)
    seen.level[:] = seen.by_bin.mean(axis=1)
    seen.used[:], seen.best[:] = seen.by_bin[at, bins], seen.by_bin.max(axis=1)
    seen.used_deviation[:] = seen.best_deviation[:] = 0.3
    seen.best_hour[:] = BIN_HOURS * seen.by_bin.argmax(axis=1)
    hour = day % 7 * 24 + BIN_HOURS * bins
    zeros = np.zeros(n, np.int64)
    sent = lab.Sent(names=["news"], client=zeros, recipient=person, day=day, hour_of_week=hour)
    return seen, sent, true


def habit_of(shares):
    """Chance of each bin, out of those of some."""
    habit = np.zeros(BINS)
    habit[list(shares)] = list(shares.values())
    return habit


def test_the_interval_covers_the_truth():
    """Sixty logs: the true gain of the model's hours lies in nineteen of twenty intervals."""
    covered, found = 0, []
    for seed in range(60):
        seen, sent, true = world(seed)
        told = lab.by_log(seen, sent, lab.sender_hours(sent))
        assert told.reason is None
        at, bins = np.arange(len(true)), sent.hour_of_week % 24 // BIN_HOURS
        gain = (true[at, seen.by_bin.argmax(axis=1)] - true[at, bins]).mean()
        low, high = told.value.lift_interval
        covered += low <= gain <= high
        found.append(told.value.lift - gain)
    assert covered >= 53
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(60)


def test_without_an_effect_the_model_may_believe_what_it_likes():
    """All hours are equal and the model thinks not: it promises a gain, the log shows none."""
    seen, sent, _ = world(1, told=0.15, effect=0.0)
    hours = lab.sender_hours(sent)
    assert lab.by_model(seen, sent, hours).interval[0] > 0.05
    told = lab.by_log(seen, sent, hours)
    assert told.value.lift_interval[0] < 0 < told.value.lift_interval[1]
    assert told.model_lift > 0.05


def test_the_models_interval_is_its_formula():
    """Sum over recipients of squared sums over their sends, by a loop."""
    seen, sent, _ = world(2, people=10, days=5)
    told = lab.by_model(seen, sent, lab.sender_hours(sent))
    total = 0.0
    for person in range(10):
        rows = np.flatnonzero(sent.recipient == person)
        used, best = seen.used[rows].astype(float), seen.best[rows].astype(float)
        slopes = np.hypot(0.3 * used * (1 - used), 0.3 * best * (1 - best))
        total += slopes.sum() ** 2
    reach = 1.959964 * np.sqrt(total) / 50
    assert told.interval == pytest.approx((told.lift - reach, told.lift + reach))
    assert told.lift == pytest.approx(float((seen.best - seen.used).astype(float).mean()))
    assert told.actual == pytest.approx(seen.facts[:, 0].mean())


def test_bins_that_the_log_does_not_cover_are_no_target():
    """Of hours never used only the model speaks; the estimate by the log keeps to the others."""
    seen, sent, true = world(3, habit=habit_of({2: 0.25, 3: 0.25, 4: 0.25, 5: 0.25}))
    hours = lab.sender_hours(sent)
    assert lab.by_model(seen, sent, hours).outside == pytest.approx(1 - 4 / BINS, abs=0.1)
    told = lab.by_log(seen, sent, hours)
    at, bins = np.arange(len(true)), sent.hour_of_week % 24 // BIN_HOURS
    target = 2 + seen.by_bin[:, 2:6].argmax(axis=1)
    gain = (true[at, target] - true[at, bins]).mean()
    assert told.reason is None
    assert told.value.lift_interval[0] <= gain <= told.value.lift_interval[1]
    assert told.value.overlap.unreached == 0


@pytest.mark.parametrize(
    ("habit", "days", "told"),
    [
        ({3: 1.0}, 40, "fixed slot"),
        ({0: 0.01, 3: 0.98, BINS - 1: 0.01}, 40, "fixed slot"),
        (None, 1, "worth 1 days, 20 are needed"),
        (None, 12, "20 are needed"),
    ],
)
def test_thin_logs_are_refused(habit, days, told):
    """One slot, all but one slot, one day, few days: no number, and what to do."""
    seen, sent, _ = world(4, days=days, habit=habit and habit_of(habit))
    found = lab.by_log(seen, sent, lab.sender_hours(sent))
    assert told in found.reason
    assert ("drawn hours" in found.reason) or ("longer log" in found.reason)


def test_few_days_at_the_models_hours_are_refused():
    """Three weeks in twelve at the better slot, a day's mail at once: fifteen days, too few."""
    seen, sent, _ = world(6, days=84, people=60, effect=0.0)
    weekday, week = sent.day % 7, sent.day // 7
    better = (week % 4 == 0) & (weekday < 5)
    sent.hour_of_week[:] = 24 * weekday + np.where(better, 18, 9)
    seen.by_bin[:] = np.linspace(0.2, 0.3, BINS)
    told = lab.by_log(seen, sent, lab.sender_hours(sent))
    assert told.days == pytest.approx(15)
    assert "worth 15.0 days, 20 are needed" in told.reason
    assert told.left_out == 24 * 60


def test_messages_that_differ_by_day_widen_the_interval():
    """All of a day goes out at one hour: what is told of hours is as uncertain as days are few."""
    seen, sent, _ = world(5, days=200, people=40, effect=0.0)
    rng = np.random.default_rng(5)
    slots, quality = rng.integers(0, BINS, 200), rng.normal(0, 0.1, 200)
    chance = np.clip(0.3 + quality, 0, 1)[sent.day]
    seen.facts[:, 0] = rng.random(len(chance)) < chance
    sent.hour_of_week[:] = BIN_HOURS * slots[sent.day]
    seen.by_bin[:] = np.linspace(0.2, 0.3, BINS)
    told = lab.by_log(seen, sent, lab.sender_hours(sent))
    assert (told.clustered_by, told.within_days) == ("day", 0.0)
    low, high = told.value.lift_interval
    days = chance[::40][slots == BINS - 1]
    assert high - low > 2 * days.std() / np.sqrt(len(days))
