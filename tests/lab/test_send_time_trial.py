"""The lab's rules do as published, and its trial is repeatable and judges by the truth."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.lab.people import People
from sendtide.lab.rules import bronto_hour
from sendtide.lab.send_time_trial import POLICIES, TrialSettings, calibration_error, run_trial


def opens(*hours):
    return np.bincount(hours, minlength=24)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ((), None),
        ((9,), 9),
        ((9, 9, 20), 9),
        ((8, 9, 10, 10, 9, 9, 8, 10, 9, 9), 9),
        ((7, 7, 8, 9, 9, 9, 10, 11, 12, 13), 10),
        ((1, 1, 1, 1, 23, 22, 21, 12, 13, 23), 1),
    ],
)
def test_brontos_rule_as_published(hours, expected):
    """None, then the mode, then the mean of narrow opens, else the mode again."""
    assert bronto_hour(opens(*hours)) == expected


def test_calibration_error_of_known_numbers():
    """Told 0.25 and half opened is off by a quarter; told what happens is off by nothing."""
    half = np.array([True, False])
    assert calibration_error(np.array([0.25, 0.25]), half) == pytest.approx(0.25)
    assert calibration_error(np.array([1.0, 0.0]), half) == 0


def test_reactions_come_as_often_as_the_truth_says():
    """Opens of many campaigns sum to the true probabilities, within chance."""
    people = People(3_000, 40, seed=5)
    sent = 500_000 + np.arange(3_000) % 24
    expected = np.array([people.truth(k, sent[:, None])[:, 0] for k in range(20)])
    opened = np.array([people.react(k, sent).opened for k in range(20)])
    deviation = np.sqrt((expected * (1 - expected)).sum())
    assert abs(opened.sum() - expected.sum()) < 4 * deviation


def test_the_trial_is_repeatable_and_in_order():
    """The same seed gives the same figures; the habit's histogram gains little, the oracle most."""
    settings = TrialSettings(seed=2, recipients=400, sends=12)
    steps = []
    one, again = (run_trial(settings, lambda: steps.append(1)) for _ in range(2))
    assert one == again
    assert len(steps) == 2 * len(POLICIES) * 12
    share = one.oracle_lift_share
    assert share["open_histogram"] <= 0.2 < share["sendtide"] < 1
    assert share["sendtide"] < share["informed"] < 1
    assert max(one.open_probability, key=one.open_probability.get) == "oracle"
    assert one.regret["oracle"] == 0
    opens = one.control_group["open"]
    assert opens.rest_sends + opens.control_sends == 400 * 12
    assert one.machines.acts > 100
    assert one.machines.caught > 0.6
    assert one.machines.discarded < 0.01
