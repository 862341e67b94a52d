"""The control group's interval: its formula, valid at every look, and honest with few data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from sendtide.events.hashing import GROUPS
from sendtide.monitoring.lift import (
    CONTROL,
    MIN_HITS,
    REST,
    confidence_reach,
    judge_lift,
)


def counts(seed, looks=1, recipients=2_000, lift=0.0, control=0.2, repeats=1):
    """Cumulated sends and hits of recipients with chances of their own."""
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(recipients) < control, CONTROL, REST)
    cell = arm * GROUPS + rng.integers(0, GROUPS, recipients)
    chance = rng.beta(2, 6, recipients) * (1 - lift) + lift * (arm == REST)
    made = np.zeros((2, looks, 2 * GROUPS), np.int64)
    for look in range(looks):
        hit = rng.random(recipients) < chance
        made[0, look] = repeats * np.bincount(cell, minlength=2 * GROUPS)
        made[1, look] = repeats * np.bincount(cell[hit], minlength=2 * GROUPS)
    return made.cumsum(axis=1).reshape(2, looks, 2, GROUPS)


def test_by_hand():
    """Rates, the clustered variance, the mixture's bound and the t distribution, one by one."""
    [sends], [hits] = counts(3)
    found = judge_lift(sends[None], hits[None], 0.02)
    variance, rates = 0.0, []
    for arm in (REST, CONTROL):
        p = sum(hits[arm]) / sum(sends[arm])
        apart = sum((h - p * s) ** 2 for s, h in zip(sends[arm], hits[arm], strict=True))
        grouped = GROUPS / (GROUPS - 1) * apart / sum(sends[arm]) ** 2
        variance += max(grouped, p * (1 - p) / sum(sends[arm]))
        rates.append(p)
    eta, information = 1 / 0.02**2, 1 / variance
    boundary = np.sqrt((information + eta) * np.log((information + eta) / (eta * 0.05**2)))
    errors = boundary / np.sqrt(information)
    reach = t.isf(norm.sf(errors), GROUPS - 1) * np.sqrt(variance)
    assert found.rates[0] == pytest.approx(rates)
    assert found.difference[0] == pytest.approx(rates[REST] - rates[CONTROL])
    assert found.high[0] - found.difference[0] == pytest.approx(reach)
    assert found.difference[0] - found.low[0] == pytest.approx(reach)


@pytest.mark.parametrize("lift", [0.0, 0.05])
def test_it_holds_at_all_looks_at_once(lift):
    """Of 400 experiments with 30 looks each, at most 5% ever leave the truth outside."""
    outside = 0
    for seed in range(400):
        found = judge_lift(*counts(seed, looks=30, recipients=1_000, lift=lift), 0.02)
        outside += bool(((found.low > lift) | (found.high < lift)).any())
    assert outside <= 20


def test_a_brownian_motion_stays_within():
    """Robbins' bound against simulated paths: crossed by fewer than 5%, and not by none."""
    rng = np.random.default_rng(1)
    information = np.geomspace(100, 1e7, 400)
    steps = np.sqrt(np.diff(information, prepend=0))
    paths = (steps * rng.normal(size=(4_000, 400))).cumsum(axis=1) / information
    crossed = (np.abs(paths) > confidence_reach(1 / information, 0.01)).any(axis=1).mean()
    assert 0.01 < crossed < 0.05


def test_it_says_lift_harm_or_nothing_yet():
    """A large effect is told with its sign; arms exchanged, the sign is too."""
    sends, hits = counts(1, looks=20, lift=0.2)
    assert judge_lift(sends, hits, 0.02).verdicts()[-1] == "lift"
    assert judge_lift(sends[:, ::-1], hits[:, ::-1], 0.02).verdicts()[-1] == "harm"
    assert judge_lift(*counts(1), 0.02).verdicts() == ["no lift yet"]


def test_the_same_recipients_again_are_no_more_evidence():
    """Ten copies of every send leave the interval as wide."""
    once, ten = (judge_lift(*counts(5, repeats=k), 0.02) for k in (1, 10))
    assert (ten.high - ten.low)[0] == pytest.approx((once.high - once.low)[0], rel=0.15)


@given(st.permutations(range(GROUPS)), st.integers(0, 30))
def test_counts_merge_in_any_order(order, seed):
    """Groups may change places and counts may come in parts: the judgement is the same."""
    sends, hits = counts(7)
    part = np.random.default_rng(seed).binomial(hits, 0.4)
    merged = ((hits - part)[..., order]) + part[..., order]
    one = judge_lift(sends, hits, 0.02)
    other = judge_lift(sends[..., order], merged, 0.02)
    assert other.low[0] == pytest.approx(one.low[0], rel=1e-9)


@pytest.mark.parametrize("few", ["hits", "misses", "groups", "control"])
def test_too_few_data_give_no_interval(few):
    """Without 20 hits, misses and groups in each arm there is no interval and no verdict."""
    sends, hits = np.full((1, 2, GROUPS), 50), np.full((1, 2, GROUPS), 20)
    hits[:, REST] += 10
    assert judge_lift(sends, hits, 0.02).verdicts() == ["lift"]
    if few == "hits":
        hits[:, CONTROL] = 0
        hits[:, CONTROL, : MIN_HITS - 1] = 1
    elif few == "misses":
        hits[:, CONTROL] = sends[:, CONTROL]
    elif few == "groups":
        sends[:, CONTROL, 19:], hits[:, CONTROL, 19:] = 0, 0
    else:
        sends[:, CONTROL], hits[:, CONTROL] = 0, 0
    found = judge_lift(sends, hits, 0.02)
    assert np.isnan([found.low[0], found.high[0], found.difference[0]]).all()
    assert found.verdicts() == ["no lift yet"]
