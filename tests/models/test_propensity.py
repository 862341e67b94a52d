"""Features against a slow, plain account of the same words."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.events.examples import HISTORY_COLUMNS, PERIOD_BITS, PERIODS
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.models.propensity import FEATURES, ClientRates

NOW = 2_000


def word(counts):
    """The counts, newest first, as one whole number."""
    return sum(count << (PERIOD_BITS * age) for age, count in enumerate(counts))


def history(rows):
    """HISTORY_COLUMNS of rows given as dicts; what is not given is 0, or NaN for hours."""
    fill = {"hours_since_send": math.nan, "hours_since_open": math.nan, "period": NOW}
    return {
        name: np.array([row.get(name, fill.get(name, 0)) for row in rows], dtype)
        for name, dtype in HISTORY_COLUMNS.items()
    }


def plain(row, sent, opened, client):
    """Log-odds, lift, unusualness and streak by their definitions; client: [(sends, opens)]."""
    total = [sum(part) for part in zip(*client.values(), strict=True)] or [0, 0]
    rate = (total[1] + 10 * 0.2) / (total[0] + 10)
    found = {}
    for name, half_life in (("recent", 2), ("slow", 8)):
        weights = [0.5 ** (age / half_life) for age in range(PERIODS)]
        sends = sum(w * s for w, s in zip(weights, sent, strict=True))
        opens = sum(w * o for w, o in zip(weights, opened, strict=True))
        p = (opens + 0.7 * rate) / (max(sends, opens) + 0.7)
        p = min(max(p, 0.001), 0.999)
        found[f"{name}_log_odds"] = math.log(p / (1 - p)) / 2
        if name == "slow":
            usual = []
            for age in range(PERIODS):
                tries, hits = client.get(NOW - age, (0, 0))
                usual.append((hits + 20 * rate) / (tries + 20))
            expected = sum(w * s * u for w, s, u in zip(weights, sent, usual, strict=True))
            found["lift"] = math.log((opens + 0.5) / (expected + 0.5))
            apart = [(u - rate) / (rate * (1 - rate)) for u in usual]
            odd = sum(w * o * a for w, o, a in zip(weights, opened, apart, strict=True))
            found["slow_unusualness"] = min(max(3 * odd / (opens + 1), -3), 3)
            odd = sum(o * a for o, a in zip(opened, apart, strict=True))
            found["unusualness"] = min(max(3 * odd / (sum(opened) + 1), -3), 3)
    newest = next((age for age in range(PERIODS) if opened[age]), PERIODS)
    found["unopened_streak"] = math.log1p(sum(sent[:newest])) / 2
    p = (row["opens"] + 2 * rate) / (row["sends"] + 2)
    p = min(max(p, 0.001), 0.999)
    found["lifetime_log_odds"] = math.log(p / (1 - p)) / 2
    return found


counts = st.lists(st.integers(0, 7), min_size=PERIODS, max_size=PERIODS)


@given(sent=counts, shares=counts, mailed=st.lists(st.integers(0, 60), min_size=40, max_size=80))
def test_features_are_what_their_names_say(sent, shares, mailed):
    """Whatever was sent, opened and learned of the client before."""
    opened = [min(s, share) for s, share in zip(sent, shares, strict=True)]
    rates, client = ClientRates(1), {}
    periods = [NOW - age // 2 for age in mailed]
    labels = [age % 3 == 0 for age in mailed]
    for period, label in zip(periods, labels, strict=True):
        sends, opens = client.get(period, (0, 0))
        client[period] = (sends + 1, opens + label)
    outcome = np.column_stack([np.ones(len(mailed)), labels, np.zeros(len(mailed))])
    taught = history([{"period": period} for period in periods])
    content = np.full((len(mailed), 5), np.nan, np.float32)
    rates.count(np.zeros(len(mailed), np.int32), taught, content, outcome.astype(np.int64))

    row = {"sends": sum(sent), "opens": sum(opened), "clicks": 0}
    asked = row | {"period_sends": word(sent), "period_opens": word(opened)}
    x = rates.features(np.zeros(1, np.int32), history([asked]), content[:1])[0]
    named = dict(zip(FEATURES, x.tolist(), strict=True))
    for name, value in plain(row, sent, opened, client).items():
        assert math.isclose(named[name], value, rel_tol=1e-6, abs_tol=1e-6), name


def test_a_stranger_is_all_prior():
    """No history, no content, no client: finite, and the log-odds of the usual rates."""
    x = ClientRates(1).features(
        np.zeros(1, np.int32), history([{}]), np.full((1, 5), np.nan, np.float32)
    )[0]
    named = dict(zip(FEATURES, x.tolist(), strict=True))
    assert np.isfinite(x).all()
    assert math.isclose(named["lifetime_log_odds"], math.log(0.25) / 2, abs_tol=1e-12)
    assert math.isclose(named["click_log_odds"], math.log(0.02 / 0.98) / 3, abs_tol=1e-12)
    assert all(named[name] == 0 for name in CONTENT_FIELDS)


def test_rows_counted_together_equal_rows_counted_one_by_one():
    """Where a block is cut makes no difference, also across clients and newer periods."""
    rng = np.random.default_rng(5)
    n = 300
    rows = [
        {"sends": 3, "opens": 1, "period": NOW + i // 40, "period_sends": 3, "period_opens": 1}
        for i in range(n)
    ]
    who, told = rng.integers(0, 3, n).astype(np.int32), history(rows)
    content = rng.normal(50, 20, (n, 5)).astype(np.float32)
    outcome = np.column_stack([np.ones(n), rng.random(n) < 0.3, rng.random(n) < 0.1]).astype("i8")
    together, single = ClientRates(3), ClientRates(3)
    expected = together.count(who, told, content, outcome)
    for i in range(n):
        one = {name: column[i : i + 1] for name, column in told.items()}
        x = single.count(who[i : i + 1], one, content[i : i + 1], outcome[i : i + 1])
        np.testing.assert_array_equal(x[0], expected[i])
    for kept, other in zip(together.tables(), single.tables(), strict=True):
        np.testing.assert_array_equal(kept, other)
