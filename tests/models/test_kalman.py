"""The compiled filter is the formulas, many times over; and it follows weights that move."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from sendtide.models.kalman import KalmanBank, KalmanLogistic, KalmanSettings, sigmoid
from sendtide.models.platt import PlattScaling

DAY_MS = 86_400_000
FULL = KalmanSettings(mean=(1.0, 0.0, 0.0, 0.0, -1.0))
DIAGONAL = KalmanSettings(mean=(0.5, 0.0, 0.0, 0.0, -3.0), variance=0.03, full=False)


def stream(n, seed=2, features=4):
    """Rows, labels of weights that jump halfway, and times with silences between."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, features))
    weights = np.where(np.arange(n)[:, None] < n / 2, 1.0, -1.0) * np.ones(features)
    y = rng.random(n) < sigmoid((weights * x).sum(axis=1) - 1)
    times = np.cumsum(rng.integers(0, 4, n) * DAY_MS // 3).astype(np.int64)
    return x, y, times


@pytest.mark.parametrize("settings", [FULL, DIAGONAL])
def test_the_bank_equals_the_river_classifier(settings):
    """One client, 500 labels at odd times, some going back: same answers, same weights."""
    x, y, times = stream(500)
    times[::50] -= DAY_MS
    bank, river = KalmanBank(4, settings), KalmanLogistic(settings)
    found = sigmoid(bank.learn(np.zeros(500, np.int32), x, y, times))
    for i in range(500):
        named = {f"f{j}": value for j, value in enumerate(x[i].tolist())}
        named["time_ms"] = int(times[i])
        if i % 100 == 7:
            zero = np.zeros(1, np.int32)
            alone = KalmanBank(4, settings)
            alone.learn(np.zeros(i, np.int32), x[:i], y[:i], times[:i])
            asked = sigmoid(alone.predict(zero, x[i : i + 1], times[i : i + 1]))[0]
            assert asked == pytest.approx(river.predict_proba_one(named)[True], abs=1e-10)
        river.learn_one(named, bool(y[i]))
    named["time_ms"] += 5 * DAY_MS
    later = times[-1:] + 5 * DAY_MS
    asked = sigmoid(bank.predict(np.zeros(1, np.int32), x[-1:], later))[0]
    assert asked == pytest.approx(river.predict_proba_one(named)[True], abs=1e-9)
    assert np.all((found > 0) & (found < 1))


@pytest.mark.parametrize("settings", [FULL, DIAGONAL])
def test_clients_and_blocks_do_not_matter(settings):
    """Two clients interleaved in odd blocks equal each one alone in one block."""
    x, y, times = stream(400)
    rows = np.random.default_rng(1).integers(0, 2, 400).astype(np.int32)
    together = KalmanBank(4, settings)
    parts = [slice(0, 7), slice(7, 300), slice(300, 400)]
    found = np.concatenate([together.learn(rows[p], x[p], y[p], times[p]) for p in parts])
    for client in (0, 1):
        mine, alone = rows == client, KalmanBank(4, settings)
        zero = np.zeros(mine.sum(), np.int32)
        expected = alone.learn(zero, x[mine], y[mine], times[mine])
        np.testing.assert_array_equal(expected, found[mine])
        np.testing.assert_array_equal(alone.weights[0], together.weights[client])


def test_without_noise_it_comes_to_the_posterior_mode():
    """On weights that stay, the filter ends near the penalised maximum likelihood (scipy)."""
    rng = np.random.default_rng(6)
    x = rng.normal(0, 1, (5_000, 4))
    y = rng.random(5_000) < sigmoid(x @ np.array([0.5, -0.5, 0.2, 0.0]) - 1)
    still = KalmanSettings(mean=(0.0,) * 5, noise_per_day=0.0, noise_per_label=0.0)
    bank = KalmanBank(4, still)
    bank.learn(np.zeros(5_000, np.int32), x, y, np.zeros(5_000, np.int64))
    z = np.column_stack([x, np.ones(5_000)])

    def loss(w):
        margin = z @ w
        return np.logaddexp(0, margin).sum() - margin[y].sum() + (w @ w) / (2 * 0.3)

    mode = minimize(loss, np.zeros(5)).x
    assert np.abs(bank.weights[0] - mode).max() < 0.02


def test_it_follows_weights_that_moved():
    """A year after all weights changed sign, with three labels a day, it is right again."""
    x, y, times = stream(4_000)
    p = sigmoid(KalmanBank(4, FULL).learn(np.zeros(4_000, np.int32), x, y, times))
    hits = ((p > 0.5) == y).astype(float)
    assert hits[1_500:2_000].mean() > 0.75
    assert hits[2_000:2_100].mean() < 0.5
    assert hits[3_500:].mean() > 0.65


def test_what_one_mailing_taught_fades_until_the_next():
    """After ten days of silence the answer is near the anchor's; at once it is the weights'."""
    x, y, _ = stream(1_000)
    times = np.zeros(1_000, np.int64)
    bank = KalmanBank(4, FULL)
    zero = np.zeros(1, np.int32)
    bank.learn(np.zeros(1_000, np.int32), x, y, times)
    z, one = np.append(x[0], 1.0), x[:1]
    now = bank.predict(zero, one, np.zeros(1, np.int64))[0]
    later = bank.predict(zero, one, np.full(1, 10 * DAY_MS))[0]
    by_weights, by_anchor = bank.weights[0] @ z, bank.anchors[0] @ z
    assert abs(now - by_weights) < 0.05 * abs(by_weights)
    moved = by_anchor + (1 - 0.5 ** (10 / 60)) * (by_weights - by_anchor)
    assert abs(later - moved) < 0.05 * abs(moved)
    assert abs(by_weights - by_anchor) > 0.2


def test_nothing_is_certain():
    """Rows far outside what was seen are answered strictly between 0 and 1."""
    bank = KalmanBank(4, FULL)
    x = np.full((50, 4), 1e6)
    p = sigmoid(bank.learn(np.zeros(50, np.int32), x, np.ones(50, bool), np.arange(50)))
    assert np.all((p > 0) & (p < 1))


def test_scaling_learns_slope_and_offset():
    """Scores three times too large and shifted are mapped back to the truth."""
    rng = np.random.default_rng(8)
    truth = rng.normal(-1, 1, 30_000)
    y = rng.random(30_000) < sigmoid(truth)
    scaling, rows = PlattScaling(), np.zeros(30_000, np.int32)
    scaling.learn(rows, 3 * truth + 1, y)
    found = scaling.predict(rows, 3 * truth + 1)
    assert np.abs(found - sigmoid(truth)).max() < 0.03
    assert np.array_equal(scaling.table[1], PlattScaling().table[0])
