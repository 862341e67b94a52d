"""Placebos: few false lifts where a z-test at every look has many, and true ones are found."""

from __future__ import annotations

import numpy as np

from sendtide.lab import PlaceboSettings, run_placebo
from sendtide.lab.placebo import simulate_counts

SETTINGS = PlaceboSettings(recipients=2_000, days=40, control=0.2)


def test_few_false_lifts_in_many_placebos():
    """At most 5 of 100 runs ever say lift, or harm; the z-test misleads in more than 15."""
    found = run_placebo(300, 1.0, 1, SETTINGS, lambda: None)
    assert found.lifts <= 15
    assert found.harms <= 15
    assert found.naive > 45


def test_true_lifts_are_found():
    """Odds doubled are found in most runs, and called harm in none."""
    found = run_placebo(30, 2.0, 2, SETTINGS, lambda: None)
    assert found.lifts >= 25
    assert found.harms == 0


def test_runs_repeat_and_are_told_of():
    """The seed decides everything; every run is reported."""
    told = []
    one = run_placebo(5, 1.0, 3, SETTINGS, lambda: told.append(1))
    assert one == run_placebo(5, 1.0, 3, SETTINGS, lambda: None)
    assert len(told) == 5


def test_placebo_arms_are_alike_and_sends_of_a_recipient_are_not_independent():
    """Rates agree over many runs, and groups vary more than a binomial would."""
    runs = [simulate_counts(SETTINGS, 1.0, np.random.default_rng(seed)) for seed in range(40)]
    rates = np.array([opens[-1].sum(axis=-1) / sends[-1].sum(axis=-1) for sends, opens in runs])
    apart = rates[:, 0] - rates[:, 1]
    assert abs(apart.mean()) < 3 * apart.std() / np.sqrt(len(apart))
    sends, opens = (counts[-1, 0] for counts in runs[0])
    p = opens.sum() / sends.sum()
    inflation = ((opens - p * sends) ** 2 / (sends * p * (1 - p))).mean()
    assert inflation > 1.5
