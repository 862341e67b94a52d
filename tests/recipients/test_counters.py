"""Freshness of sources: lags of the running window, the rest since the beginning."""

from types import SimpleNamespace

import numpy as np

from sendtide.recipients.counters import Counters

START_MS = 1_790_000_000_000


def _add(counters, lags_ms, source=7, newest_ms=START_MS, bucket=0):
    n = len(lags_ms)
    times = np.full(n, newest_ms, np.int64)
    batch = SimpleNamespace(
        client=np.full(n, 5, np.uint64),
        source=np.full(n, source, np.uint64),
        event_time_ms=times,
        timestamp_ms=times + np.array(lags_ms, np.int64),
    )
    counters.add(0, batch, np.full(n, bucket, np.uint8))


def test_lags_are_of_the_running_window_only():
    """A delay shows at once, however long all was well before, and is gone when it is over."""
    counters = Counters()
    _add(counters, [10] * 100_000)
    [row] = counters.close_window()
    assert row.events == 100_000
    assert row.lag_p99_s <= 0.016
    _add(counters, [60_000] * 50)
    [running] = counters.take_freshness()
    assert 60 <= running.lag_p50_s <= 60 * 2**0.5
    [row] = counters.close_window()
    assert (row.events, row.lag_p50_s) == (50, running.lag_p50_s)
    assert counters.close_window() == []


def test_quantiles_are_the_edges_above_the_exact_ones():
    """At most 42% too high, never too low."""
    counters, rng = Counters(), np.random.default_rng(1)
    lags = np.round(rng.lognormal(6, 1.5, 5_000)).astype(int)
    _add(counters, lags.tolist())
    [row] = counters.take_freshness()
    for q, found in ((0.5, row.lag_p50_s), (0.95, row.lag_p95_s), (0.99, row.lag_p99_s)):
        exact = float(np.quantile(lags, q, method="inverted_cdf")) / 1000
        assert exact <= found <= exact * 2**0.5 + 1e-3


def test_late_and_newest_are_since_the_beginning():
    """A closed window takes neither back; a late event makes nothing fresher."""
    counters = Counters()
    _add(counters, [5], newest_ms=START_MS + 9)
    _add(counters, [5, 5], newest_ms=START_MS + 99, bucket=2)
    counters.close_window()
    _add(counters, [5], newest_ms=START_MS)
    [row] = counters.take_freshness()
    assert (row.newest_event_ms, row.late, row.events) == (START_MS + 9, 2, 1)


def test_after_a_restart_the_window_begins_anew():
    """Counts of before are in no window of after."""
    counters = Counters()
    _add(counters, [5] * 10)
    again = Counters.restored(counters.columns())
    assert again.close_window() == []
    _add(again, [5])
    assert [row.events for row in again.close_window()] == [1]
