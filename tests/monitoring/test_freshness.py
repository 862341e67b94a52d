"""Freshness and lags: ages, mergeable counts, quantiles near numpy's."""

import numpy as np

from sendtide.monitoring import LagQuantiles, freshness_s, lag_counts, lag_quantiles


def test_freshness_is_the_age_of_the_newest_event() -> None:
    """Seconds since the newest event of each source; below 0 when a clock is ahead."""
    assert freshness_s(np.array([1_000, 4_500]), 4_000).tolist() == [3.0, -0.5]


def test_quantiles_are_within_a_bucket_of_the_true_ones() -> None:
    """Counts of two partitions add up, and their quantiles are within 26% of the exact ones."""
    lags = np.random.default_rng(4).lognormal(1, 1.5, 20_000)
    arrival = np.full(len(lags), 10**12)
    times = (arrival - lags * 1000).astype(np.int64)
    counts = lag_counts(times[:7_000], arrival[:7_000]) + lag_counts(times[7_000:], arrival[7_000:])
    found = lag_quantiles(counts)
    for value, share in ((found.p50_s, 0.5), (found.p95_s, 0.95), (found.p99_s, 0.99)):
        assert abs(np.log(value / np.quantile(lags, share))) < np.log(1.26)


def test_no_events_have_no_lag() -> None:
    """Nothing seen is None, not 0; an event ahead of its arrival counts as on time."""
    assert lag_quantiles(lag_counts(np.zeros(0, np.int64), np.zeros(0, np.int64))) == LagQuantiles(
        None, None, None
    )
    assert lag_counts(np.array([5_000]), np.array([1_000]))[0] == 1
