"""How a sender's hours came about: against a loop over rows, and on senders of known habit."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.events.rhythm import BINS
from sendtide.lab.send_hours import send_hours


def naive(bins, weekday, client, recipient, concentration):
    """The formula of the module, row by row."""
    out = []
    for i in range(len(bins)):
        rows = [j for j in range(len(bins)) if j != i and recipient[j] == recipient[i]]
        here = sum(bins[j] == bins[i] for j in rows)
        mine = client == client[i]
        that_day = mine & (weekday == weekday[i])
        all_days = 20.0 * (bins[mine] == bins[i]).mean()
        share = ((bins[that_day] == bins[i]).sum() + all_days) / (that_day.sum() + 20.0)
        strength = concentration[client[i]]
        out.append((here + strength * share) / (len(rows) + strength))
    return out


def sender(seed, people, sends, spread):
    """(bins, recipients) of a sender whose recipients draw shares around uniform ones."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(BINS, spread / BINS), people)
    bins = np.array([rng.choice(BINS, sends, p=share) for share in shares])
    return bins.ravel(), np.repeat(np.arange(people), sends)


def test_every_chance_is_that_of_a_loop_over_the_other_sends():
    """Two clients, few sends: the same numbers."""
    rng = np.random.default_rng(1)
    client = rng.integers(0, 2, 120)
    recipient = client * 10 + rng.integers(0, 10, 120)
    bins = rng.integers(0, BINS, 120)
    weekday = rng.integers(0, 7, 120)
    found = send_hours(bins, weekday, client, recipient, np.arange(120), 2)
    assert found.propensity.tolist() == pytest.approx(
        naive(bins, weekday, client, recipient, found.concentration)
    )


@pytest.mark.parametrize("spread", [2.0, 8.0, 1e9])
def test_the_concentration_is_that_of_the_sender(spread):
    """Recipients with hours of their own are told from recipients mailed alike."""
    bins, recipient = sender(2, 400, 30, spread)
    zeros = np.zeros(len(bins), np.int64)
    found = send_hours(bins, zeros, zeros, recipient, np.arange(len(bins)), 1)
    if spread > 1e6:
        assert found.concentration[0] > 200
    else:
        assert spread / 2 <= found.concentration[0] <= spread * 2


@pytest.mark.parametrize("spread", [4.0, 1e9])
def test_weights_of_a_blind_target_are_one_on_average(spread):
    """Whatever the habit: a target that does not look has mean weight 1, as right chances give."""
    bins, recipient = sender(3, 500, 40, spread)
    zeros = np.zeros(len(bins), np.int64)
    found = send_hours(bins, zeros, zeros, recipient, np.arange(len(bins)), 1)
    target = (recipient * 7) % BINS
    weight = (bins == target) / found.propensity
    by_person = np.bincount(recipient, weight - 1)
    error = np.sqrt((by_person**2).sum()) / len(weight)
    assert abs(weight.mean() - 1) < 3.5 * error


def test_a_bin_is_covered_by_share_and_days():
    """A bin of one busy day, or of few sends, is none that the log can speak of."""
    bins = np.concatenate([np.full(300, 2), np.full(50, 4), np.full(50, 5), np.full(4, 6)])
    day = np.concatenate([np.arange(300), np.full(50, 9), np.arange(50), np.arange(4)])
    zeros = np.zeros(len(bins), np.int64)
    found = send_hours(bins, zeros, zeros, np.arange(len(bins)), day, 1)
    assert np.flatnonzero(found.covered[0, 0]).tolist() == [2, 5]
    assert not found.covered[0, 1:].any()


def test_a_slot_that_only_one_weekday_has_is_no_choice_of_hours():
    """Mornings on six days, evenings on the seventh: each is all but certain on its day."""
    weekday = np.tile(np.arange(7), 3_000)
    bins, zeros = np.where(weekday == 6, 6, 3), np.zeros(21_000, np.int64)
    people, days = np.arange(21_000) // 7, np.arange(21_000) // 70
    found = send_hours(bins, weekday, zeros, people, days, 1)
    assert found.propensity.min() > 0.99
    assert (found.covered.sum(axis=2) == 1).all()
