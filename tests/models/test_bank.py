"""The compiled bank is River, many times over."""

from __future__ import annotations

import numpy as np
import pytest

from sendtide.models.bank import LinearBank, LinearSettings
from sendtide.models.parity import measure_parity

SETTINGS = [
    LinearSettings(),
    LinearSettings(scale=True),
    LinearSettings(learning_rate=0.05, l2=0.01),
    LinearSettings(l2=0.001, scale=True),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_bank_gives_rivers_numbers_over_10000_events(settings):
    """Predictions and final weights equal River's to 1e-12."""
    parity = measure_parity(settings)

    assert parity.events == 10_000
    assert parity.max_difference <= 1e-12


@pytest.mark.parametrize("settings", SETTINGS)
def test_clients_do_not_touch_each_other(settings):
    """A bank fed two interleaved clients equals two banks fed one each."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(400, 5)), rng.random(400) < 0.3
    rows = rng.integers(0, 2, 400).astype(np.int32)
    together = LinearBank(5, settings)
    predictions = together.learn(rows, x, y)

    for client in (0, 1):
        mine = rows == client
        alone = LinearBank(5, settings)
        zero = np.zeros(mine.sum(), np.int32)
        np.testing.assert_array_equal(alone.learn(zero, x[mine], y[mine]), predictions[mine])
        np.testing.assert_array_equal(alone.weights[0], together.weights[client])


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_batch_equals_one_by_one_and_predicting_changes_nothing(settings):
    """Block boundaries do not matter; neither does asking in between."""
    rng = np.random.default_rng(8)
    x, y, rows = rng.normal(size=(100, 4)), rng.random(100) < 0.5, np.zeros(100, np.int32)
    batch, single = LinearBank(4, settings), LinearBank(4, settings)
    expected = batch.learn(rows, x, y)

    got = np.empty(100)
    for i in range(100):
        one = slice(i, i + 1)
        asked = single.predict(rows[one], x[one])
        got[one] = single.learn(rows[one], x[one], y[one])
        assert asked[0] == got[i]

    np.testing.assert_array_equal(expected, got)


def test_growing_keeps_what_was_learned():
    """Room for more clients leaves the weights of those that are there."""
    bank = LinearBank(2, LinearSettings())
    bank.learn(np.zeros(3, np.int32), np.ones((3, 2)), np.ones(3, bool))
    before = bank.weights[0].copy()
    bank.grow(1_000)

    assert len(bank.counts) >= 1_000
    np.testing.assert_array_equal(bank.weights[0], before)
    assert not bank.weights[1:].any()
