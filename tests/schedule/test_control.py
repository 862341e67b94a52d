"""The control group's hours are drawn by the chance that is told, and keep the rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sendtide.schedule import Constraints, Sent, solve, solve_beside_control
from sendtide.schedule.comparison import random_case
from sendtide.schedule.problem import HOUR_MS

from .test_solve import _violations


def keys_of(n, seed=0):
    return np.random.default_rng(seed).integers(0, 1 << 63, n).astype(np.uint64)


def test_hours_are_uniform_and_the_told_propensity_is_their_frequency():
    """One message with a day to go out in, asked about 4,800 times under other keys."""
    requests, _ = random_case(1, 1, 1)
    start = np.full(1, 1_790_000_000_000 // (24 * HOUR_MS) * 24 * HOUR_MS)
    requests = replace(requests, window_start_ms=start, window_end_ms=start + 24 * HOUR_MS)
    rules = Constraints(not_before_ms=int(start[0]), quiet=(0, 4 * 60), rates=np.full(2, -1))
    counts, told = np.zeros(24, int), set()
    for key in keys_of(4_800):
        found, propensity = solve_beside_control(
            requests, rules, None, np.ones(1, bool), np.array([key])
        )
        counts[(int(found.send_at_ms[0]) - int(start[0])) // HOUR_MS] += 1
        told.add(round(float(propensity[0]), 6))
    assert told == {0.05}
    assert counts[:4].tolist() == [0] * 4
    assert counts[4:].min() > 170
    assert counts[4:].max() < 310


def test_all_rules_are_kept_beside_the_others():
    """Forty tight cases, a quarter of each in control: no rule is broken in silence."""
    for case in range(40):
        requests, rules = random_case(case, 40, 24)
        controlled = np.random.default_rng(case).random(40) < 0.25
        found, told = solve_beside_control(requests, rules, None, controlled, keys_of(40, case))
        assert not _violations(requests, rules, Sent(), found)
        assert np.isnan(told[~controlled]).all()
        kept = controlled & (found.relaxed == 0)
        assert (np.isnan(told) | (told > 0) & (told <= 1)).all()
        assert not np.isnan(told[kept]).any()


def test_control_does_not_follow_the_curves_and_the_others_do():
    """Two thousand people, no limits: control has the window's mean chance, others the best."""
    requests, _ = random_case(5, 2_000, 2_000)
    rules = Constraints(not_before_ms=0, rates=np.full(2, -1))
    controlled = np.arange(2_000) % 2 == 0
    found, told = solve_beside_control(requests, rules, None, controlled, keys_of(2_000))
    best = solve(requests, rules)
    assert np.array_equal(found.send_at_ms[~controlled], best.send_at_ms[~controlled])
    hours = (requests.window_start_ms[:, None] + np.arange(168) * HOUR_MS) // HOUR_MS
    open_at = np.take_along_axis(requests.curves[requests.curve], (hours + 72) % 168, axis=1)
    inside = np.arange(168) * HOUR_MS < (requests.window_end_ms - requests.window_start_ms)[:, None]
    mean = (open_at * inside).sum(axis=1) / inside.sum(axis=1)
    assert abs(found.open_probability[controlled].mean() - mean[controlled].mean()) < 0.004
    assert best.open_probability.mean() > mean.mean() + 0.05
    assert np.allclose(told[controlled], 1 / inside[controlled].sum(axis=1))


def test_everybody_in_control_and_nobody():
    """Both ends of the share."""
    requests, rules = random_case(3, 30, 20)
    everybody, told = solve_beside_control(requests, rules, None, np.ones(30, bool), keys_of(30))
    assert len(everybody.send_at_ms) == 30
    assert not np.isnan(told[everybody.relaxed == 0]).any()
    nobody, told = solve_beside_control(requests, rules, None, np.zeros(30, bool), keys_of(30))
    assert np.array_equal(nobody.send_at_ms, solve(requests, rules).send_at_ms)
    assert np.isnan(told).all()
