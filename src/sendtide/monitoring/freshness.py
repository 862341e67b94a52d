"""How old the newest event is, and how long events take to arrive.

Freshness is now minus the newest event time (the convention of change data capture pipelines).
Lags are arrival minus event time, counted in buckets with fixed edges, so that counts of windows
and partitions add up; quantiles are read off the counts, interpolated within a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAG_EDGES_S", "LagQuantiles", "freshness_s", "lag_counts", "lag_quantiles"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

LAG_EDGES_S: Final[F64] = np.concatenate([[0.0], np.geomspace(0.001, 30 * 86_400.0, 96)])
"""Lower edges of the buckets, seconds: each 26% above the last; the last bucket has no end."""


@dataclass(frozen=True, slots=True)
class LagQuantiles:
    """Seconds; None without any event."""

    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


def freshness_s(newest_event_ms: I64, now_ms: int) -> F64:
    """Age of the newest event of each source, seconds; below 0 if its clock is ahead."""
    return np.asarray((now_ms - newest_event_ms) / 1000.0)


def lag_counts(event_time_ms: I64, arrival_ms: I64, edges_s: F64 = LAG_EDGES_S) -> I64:
    """Count lags into buckets (len(edges),); an event ahead of its arrival has lag 0."""
    lags = np.maximum(arrival_ms - event_time_ms, 0) / 1000.0
    bucket = np.searchsorted(edges_s, lags, side="right") - 1
    return np.bincount(bucket, minlength=len(edges_s)).astype(np.int64)


def lag_quantiles(counts: NDArray[np.integer[Any]], edges_s: F64 = LAG_EDGES_S) -> LagQuantiles:
    """Median, 95th and 99th percentile of counted lags; the last bucket answers its lower edge."""
    total = int(counts.sum())
    if total == 0:
        return LagQuantiles(None, None, None)
    ends = np.append(edges_s[1:], edges_s[-1])
    cumulative = np.cumsum(counts)

    def quantile(share: float) -> float:
        wanted = share * total
        bucket = int(np.searchsorted(cumulative, wanted))
        before = cumulative[bucket] - counts[bucket]
        part = (wanted - before) / counts[bucket]
        return float(edges_s[bucket] + part * (ends[bucket] - edges_s[bucket]))

    return LagQuantiles(quantile(0.5), quantile(0.95), quantile(0.99))
