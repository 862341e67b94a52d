"""Equal models are seldom told apart, better ones are, and the numbers are those of the sums."""

import math

import numpy as np
import pytest

from sendtide.monitoring.lift import confidence_reach
from sendtide.monitoring.rivalry import MIN_ROWS, Differences

ROWS, STREAMS, ALPHA = 4_000, 100, 0.05


def log_loss(p, y):
    """Of each row."""
    return -np.log(np.where(y, p, 1 - p))


def first_better(differences):
    """Row at which a look after every row first says better; None if never."""
    against = Differences()
    for difference in differences.tolist():
        against.add(difference)
        if against.interval(ALPHA)[1] > 0:
            return against.rows
    return None


def test_equal_models_are_told_apart_in_at_most_5_percent_of_streams():
    """Both err alike around the truth; looked at after each of 4,000 labels."""
    promoted = 0
    for seed in range(STREAMS):
        rng = np.random.default_rng(seed)
        z = rng.normal(-1.4, 1.0, ROWS)
        y = rng.random(ROWS) < 1 / (1 + np.exp(-z))
        one, other = (1 / (1 + np.exp(-(z + rng.normal(0, 0.3, ROWS)))) for _ in range(2))
        promoted += first_better(log_loss(one, y) - log_loss(other, y)) is not None
    assert promoted <= 5


def test_a_better_model_is_found_and_a_worse_one_never():
    """One knows the truth, the other errs by 0.5 in log-odds."""
    for seed in range(20):
        rng = np.random.default_rng(1_000 + seed)
        z = rng.normal(-1.4, 1.0, ROWS)
        y = rng.random(ROWS) < 1 / (1 + np.exp(-z))
        good = 1 / (1 + np.exp(-z))
        poor = 1 / (1 + np.exp(-(z + rng.normal(0, 0.5, ROWS))))
        gains = log_loss(poor, y) - log_loss(good, y)
        assert first_better(gains) is not None
        assert first_better(-gains) is None


def test_the_interval_is_that_of_the_sums():
    """Mean and reach by numpy over the whole list; nothing is said before enough rows."""
    differences = np.random.default_rng(3).normal(0.02, 0.2, 700)
    against = Differences()
    assert all(math.isnan(end) for end in against.interval(ALPHA))
    for i, difference in enumerate(differences.tolist(), 1):
        against.add(difference)
        mean, low, high = against.interval(ALPHA)
        assert mean == pytest.approx(differences[:i].mean(), abs=1e-12)
        assert math.isnan(low) == math.isnan(high) == (i < MIN_ROWS)
    reach = confidence_reach(np.array([differences.var() / 700]), 0.01, ALPHA)[0]
    assert (low, high) == pytest.approx((mean - reach, mean + reach), rel=1e-9)


def test_models_that_answer_alike_are_never_told_apart():
    """A copy has no gain, however long it runs."""
    against = Differences()
    for _ in range(5_000):
        against.add(0.0)
    mean, low, high = against.interval(ALPHA)
    assert mean == 0
    assert low < 0 < high
