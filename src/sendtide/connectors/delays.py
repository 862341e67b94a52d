"""Times of opens and clicks where a file only says that they were: drawn, seeded, stated.

- open:  sent + lognormal(median 2.5 h, sigma 1.5)
- click: open + lognormal(median 45 s, sigma 1.0)

Cut off at a limit means truncated (inverse of the distribution function), not clipped.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["CLICKING", "OPENING", "truncated_lognormal"]

F64 = NDArray[np.float64]

OPENING: Final = (2.5 * 3600.0, 1.5)
CLICKING: Final = (45.0, 1.0)
"""Median in seconds and sigma of the logarithm."""


def truncated_lognormal(chance: F64, median: float, sigma: float, limit: F64) -> F64:
    """Inverse of the lognormal's distribution function cut at `limit`, at `chance` in [0, 1)."""
    reached = ndtr(np.log(limit / median) / sigma)
    draws: F64 = median * np.exp(sigma * ndtri(np.maximum(chance, 1e-12) * reached))
    return np.minimum(draws, limit)
