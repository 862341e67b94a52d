"""Fixed buckets for event-to-arrival lag: integers that merge over partitions and windows.

Bucket 0 holds lags below 1 ms (and clocks ahead of ours); bucket k >= 1 holds lags from
`2 ** ((k - 1) / 2)` ms up to the next power of the square root of two; the last is open-ended, from
about 26 days on. So a quantile read off the edges is at most 42% too high.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LAG_BUCKETS", "LAG_EDGES_MS", "lag_buckets"]

LAG_BUCKETS: Final = 64
LAG_EDGES_MS: Final[NDArray[np.float64]] = 2.0 ** (np.arange(LAG_BUCKETS - 1) / 2)
"""Upper edges of all buckets but the last, in milliseconds."""


def lag_buckets(lag_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket of each lag in milliseconds."""
    return np.asarray(np.searchsorted(LAG_EDGES_MS, lag_ms, side="right"), np.int64)
