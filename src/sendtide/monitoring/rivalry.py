"""Has one model been better than another? A comparison that may be looked at after every label.

Both predict a label before they learn it, so the differences d_t of their losses, incumbent minus
challenger, are compared pairwise on the same rows (progressive validation; Dawid's prequential
approach, 1984). What is asked about is the mean of d_t given the past, and what bounds it at all
times at once is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas ("Time-uniform central limit theory and asymptotic confidence sequences", Annals of
Statistics 2024), which holds for martingale differences; see `lift.confidence_reach`. The variance
is that of the differences so far over their number. Being asymptotic, it says nothing before
`MIN_ROWS` rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Final

import numpy as np

from sendtide.monitoring.lift import confidence_reach

__all__ = ["MIN_ROWS", "Differences"]

MIN_ROWS: Final = 200
_SCALE: Final = 0.01
"""Difference of log losses, in nats, for which the interval is tightest."""
_LEAST_VARIANCE: Final = 1e-12
"""Of a difference: two models that answer alike are never told apart by rounding."""


@dataclass(slots=True)
class Differences:
    """Sums over the paired differences of losses, in the order of the rows."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, difference: float) -> None:
        """Count one row's incumbent loss minus challenger loss."""
        self.rows += 1
        self.total += difference
        self.squares += difference * difference

    def interval(self, alpha: float) -> tuple[float, float, float]:
        """Mean difference and the ends that hold at all times at once with 1 - alpha.

        NaN ends before `MIN_ROWS` rows. Above 0 the challenger is better.
        """
        if self.rows == 0:
            return nan, nan, nan
        mean = self.total / self.rows
        if self.rows < MIN_ROWS:
            return mean, nan, nan
        variance = max(self.squares / self.rows - mean * mean, _LEAST_VARIANCE) / self.rows
        reach = float(confidence_reach(np.array([variance]), _SCALE, alpha)[0])
        return mean, mean - reach, mean + reach
