"""What is logged as a decision's probability is how often that decision is made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sendtide.events.hashing import ARMS, in_control
from sendtide.events.rhythm import BIN_HOURS, BINS, EVIDENCE
from sendtide.models import ModelDirectory
from sendtide.models.curves import CURVES, SHAPES, TABLES
from sendtide.models.policy import ODDS, choose, unit
from sendtide.models.rhythm import PRIOR, posterior

REQUESTS = 20_000
SLOTS = 24


def decided(evidence, control, explore, keys, start=100, salt=""):
    """Decisions of many recipients who all have this evidence."""
    n = len(keys)
    directory = ModelDirectory()
    clients, segments = np.full(n, 7, np.uint64), np.zeros(n, np.uint64)
    table = np.tile(evidence, (n, 1)).astype(np.float32)
    scores = directory.slots(clients, segments, table).scores
    hours = np.tile((start + np.arange(SLOTS)) % 168, n).astype(np.uint8)
    windows = hours, np.arange(n + 1) * SLOTS
    people = np.stack([keys, keys + np.uint64(1)], axis=1)
    controlled = in_control(clients, people, salt, control)
    return directory.choose(
        clients, segments, table, scores, windows, controlled, (control, explore), keys
    )


def evening_person():
    evidence = np.zeros(EVIDENCE)
    evidence[:BINS] = 4
    evidence[BINS + 19 // BIN_HOURS] = 3
    evidence[2 * BINS] = 20
    return evidence


@pytest.mark.parametrize("shares", [(0.1, 0.5), (0.05, 0.2), (0.0, 1.0), (1.0, 0.0)])
def test_slots_come_as_often_as_their_propensity_says(shares):
    """Chi-square of observed slots against logged probabilities; every slot told is consistent."""
    keys = np.random.default_rng(4).integers(1, 1 << 62, REQUESTS).astype(np.uint64)
    slot, propensity, arm = decided(evening_person(), *shares, keys)
    told = np.zeros(SLOTS)
    told[slot] = propensity
    counts = np.bincount(slot, minlength=SLOTS)
    rare = counts.sum() * told < 5
    observed = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(told[~rare], 1 - told[~rare].sum()) * REQUESTS
    used = expected > 1e-6

    assert stats.chisquare(observed[used], expected[used], sum_check=False).pvalue > 1e-3
    assert all(len(set(propensity[slot == s].round(12))) <= 1 for s in range(SLOTS))
    assert abs((arm == ARMS.index("control")).mean() - shares[0]) < 0.01
    assert propensity.min() >= shares[0] / SLOTS


@given(seed=st.integers(0, 2**32))
def test_a_replay_decides_the_same(seed):
    """A decision is a function of the request's hash and what is known."""
    keys = np.random.default_rng(seed).integers(1, 1 << 62, 50).astype(np.uint64)
    once, again = (decided(evening_person(), 0.1, 0.5, keys) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))


def test_the_optimised_slot_is_the_best_of_the_window():
    """Without control and exploring, the highest score is taken, with probability one."""
    keys = np.arange(1, 100, dtype=np.uint64)
    slot, propensity, arm = decided(evening_person(), 0.0, 0.0, keys, start=0)
    assert set(slot.tolist()) <= {17, 18, 19, 20}
    assert set(propensity.tolist()) == {1.0}
    assert set(arm.tolist()) == {ARMS.index("optimised")}


def test_another_salt_draws_another_control_group():
    """Membership is fixed for a salt and independent between salts."""
    ids = np.random.default_rng(1).integers(0, 1 << 62, (20_000, 2)).astype(np.uint64)
    clients = np.full(len(ids), 3, np.uint64)
    one, other = (in_control(clients, ids, salt, 0.3) for salt in ("", "b"))
    assert (one == in_control(clients, ids, "", 0.3)).all()
    assert abs((one & other).mean() - 0.09) < 0.01


def one_by_one(evidence, scores, shares, factors, hours, controlled, control, explore, key):
    """The policy as its docstring has it, one request in plain numpy."""
    n, odds = len(hours), CURVES.astype(float) / (1 - CURVES.astype(float))
    weights = np.empty(len(odds), np.float32)
    posterior(evidence, shares, TABLES, weights)
    best = int(np.argmax(scores[hours]))
    curves = odds[:, hours % 24] * factors[hours // 24].astype(float)
    counted = (np.arange(len(odds)) % SHAPES != 0) & (weights >= np.float32(1e-7))
    thompson = np.bincount(curves.argmax(axis=1)[counted], weights[counted], n)
    thompson += max(1.0 - thompson.sum(), 0.0) / n
    thompson /= thompson.sum()
    if controlled:
        slot, arm = int(unit(key ^ np.uint64(0x9E3779B97F4A7C15)) * n), "control"
    elif unit(key) < explore:
        draw = unit(key ^ np.uint64(0x9E3779B97F4A7C15))
        slot, arm = int(np.searchsorted(thompson.cumsum(), draw, side="right")), "explore"
    else:
        slot, arm = best, "optimised"
    told = control / n + (1 - control) * explore * thompson[slot]
    return slot, told + (1 - control) * (1 - explore) * (slot == best), ARMS.index(arm)


@given(seed=st.integers(0, 2**32), explore=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=25)
def test_many_requests_are_decided_like_one_by_one(seed, explore):
    """Populations, windows, strangers and people with evidence, in any order in one batch."""
    rng = np.random.default_rng(seed)
    n, control = 40, 0.2
    evidence = np.where(rng.random((n, 1)) < 0.5, 0, rng.integers(0, 4, (n, EVIDENCE)))
    evidence = evidence.astype(np.float32)
    logs = np.log(rng.dirichlet(np.ones(len(PRIOR)), 3)).astype(np.float32)
    factors = rng.uniform(0.8, 1.2, (3, 7)).astype(np.float32)
    rows, scores = rng.integers(0, 3, n), rng.random((n, 168), np.float32)
    shapes = [(rng.integers(168) + np.arange(rng.integers(1, 169))) % 168 for _ in range(4)]
    windows = [shapes[i] for i in rng.integers(0, 4, n)]
    starts = np.cumsum([0, *map(len, windows)])
    keys, controlled = rng.integers(1, 1 << 62, n).astype(np.uint64), rng.random(n) < control
    hours = np.concatenate(windows).astype(np.uint8)
    found = choose(
        *(evidence, scores, rows, (logs, factors), (hours, starts), TABLES, ODDS, controlled),
        *((control, explore), keys),
    )
    for i, (slot, told, arm) in enumerate(zip(*found, strict=True)):
        one = logs[rows[i]], factors[rows[i]], windows[i], controlled[i], control, explore
        expected = one_by_one(evidence[i], scores[i], *one, keys[i])
        assert (slot, arm) == (expected[0], expected[2])
        assert told == pytest.approx(expected[1], rel=1e-6)
