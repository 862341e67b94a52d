"""Lifts of randomised arms: Welch's numbers, simultaneous intervals that cover, honest returns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sendtide.lab import Money, uplift
from sendtide.lab.uplift import critical_value


def test_one_arm_is_welchs_test():
    """With one comparison and no covariate: scipy's Welch test and its interval."""
    rng = np.random.default_rng(1)
    control, treated = rng.normal(1, 1, 40), rng.normal(1.4, 3, 25)
    arm = np.repeat([0, 1], [40, 25])
    found = uplift(arm, np.concatenate([control, treated]), 0)[1]
    welch = stats.ttest_ind(treated, control, equal_var=False)
    assert found.p_value == pytest.approx(welch.pvalue, rel=1e-6)
    assert found.interval == pytest.approx(tuple(welch.confidence_interval(0.95)), rel=1e-6)
    assert found.lift == pytest.approx(treated.mean() - control.mean())


def test_the_critical_value_is_dunnetts():
    """Equal arms: scipy's Dunnett interval of large groups; unequal ones: a simulation."""
    rng = np.random.default_rng(2)
    groups = rng.normal(size=(4, 4_000))
    dunnett = stats.dunnett(*groups[1:], control=groups[0], rng=3).confidence_interval(0.95)
    arm = np.repeat(np.arange(4), 4_000)
    found = uplift(arm, groups.ravel(), 0)
    highs = [found[code].interval[1] for code in (1, 2, 3)]
    assert highs == pytest.approx(dunnett.high.tolist(), rel=0.05)
    own, shared = np.array([0.2, 1.0, 3.0]), 0.5
    u = rng.normal(size=(400_000, 3)) * np.sqrt(own)
    z = (u - rng.normal(size=(400_000, 1)) * np.sqrt(shared)) / np.sqrt(own + shared)
    assert (np.abs(z).max(axis=1) <= critical_value(own, shared)).mean() == pytest.approx(
        0.95, abs=0.002
    )


def test_intervals_hold_for_all_arms_at_once():
    """Of 1,500 trials with three arms, all three true lifts are inside in 93 to 97%."""
    rng = np.random.default_rng(3)
    arm = np.repeat(np.arange(4), [150, 60, 100, 80])
    rates = np.array([0.2, 0.3, 0.2, 0.5])
    together = 0
    for _ in range(1_500):
        found = uplift(arm, (rng.random(len(arm)) < rates[arm]).astype(float), 0)
        ends = [found[code].interval for code in (1, 2, 3)]
        lifts = rates[1:] - rates[0]
        together += all(a <= lift <= b for (a, b), lift in zip(ends, lifts, strict=True))
    assert 0.93 <= together / 1_500 <= 0.97


def test_p_values_are_adjusted():
    """Without any effect the smallest of three p-values is below 5% in about 5% of trials."""
    rng = np.random.default_rng(4)
    arm = np.repeat(np.arange(4), 60)
    smallest = [
        min(e.p_value for e in uplift(arm, rng.normal(size=240), 0).values() if e.p_value)
        for _ in range(1_000)
    ]
    assert np.mean(np.array(smallest) < 0.05) == pytest.approx(0.05, abs=0.025)


def test_covariates_narrow_and_do_not_bias():
    """What is known before the treatment shortens the interval; the truth stays inside."""
    rng = np.random.default_rng(5)
    inside, widths = 0, []
    for _ in range(400):
        arm, before = rng.integers(0, 2, 300), rng.normal(size=(300, 1))
        outcome = 0.5 * arm + 2 * before[:, 0] * (1 + 0.5 * arm) + rng.normal(size=300)
        plain, adjusted = uplift(arm, outcome, 0)[1], uplift(arm, outcome, 0, before)[1]
        inside += adjusted.interval[0] <= 0.5 <= adjusted.interval[1]
        widths.append(np.ptp(adjusted.interval) / np.ptp(plain.interval))
    assert np.mean(widths) < 0.7
    assert 0.925 <= inside / 400 <= 0.975


def test_returns_by_hand():
    """(revenue over the control's - cost) / cost, with the lift's interval on the same scale."""
    arm = np.repeat([0, 1], 50)
    bought = np.r_[np.tile([0, 0, 0, 0, 1], 10), np.tile([0, 1, 0, 1, 1], 10)].astype(float)
    found = uplift(arm, bought, 0, money=Money(revenue=10 * bought, cost=0.5))[1]
    assert found.lift == pytest.approx(0.4)
    assert found.roi == pytest.approx((10 * 0.4 - 0.5) / 0.5)
    assert found.roi_interval == pytest.approx(tuple((10 * e - 0.5) / 0.5 for e in found.interval))
    assert found.relative_lift == pytest.approx(2.0)
    assert found.relative_interval[0] < 2.0 < found.relative_interval[1]


def test_arms_in_which_nothing_happened():
    """No outcome in two arms: no lift, no certainty invented, no number that is none."""
    arm = np.repeat([0, 1, 2], 30)
    found = uplift(arm, (arm == 2) * (np.arange(90) % 2.0), 0)
    assert found[1].lift == 0
    assert found[1].p_value == pytest.approx(1.0)
    assert found[1].relative_lift is None
    assert found[2].interval[0] > 0
