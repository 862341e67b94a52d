"""ADWIN over the losses of many clients, in one compiled loop, with River's numbers.

Bifet & Gavalda, "Learning from time-changing data with adaptive windowing" (SDM 2007): a window of
recent losses is cut wherever two parts of it differ by more than chance allows. The arithmetic is
River 0.26's `drift.ADWIN`, step by step: exponential buckets, a check every 32 values, a fresh
window after each detection. Its state is plain numbers here, so a snapshot holds it exactly.

ADWIN also cuts when things get better, which learning does all the time: only a cut after which
the mean is higher is called a worsening.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["IMPROVED", "WORSENED", "LossWatch"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I8 = NDArray[np.int8]

WORSENED: Final = 1
IMPROVED: Final = -1

_CLOCK: Final = 32
_BUCKETS: Final = 5
_PART: Final = 5
_GRACE: Final = 10
_LEVELS: Final = 32
"""Sizes of buckets, powers of two: 5 x 2^32 losses of one client outlast every deployment."""
_WIDTH, _TOTAL, _VARIANCE, _TICK, _USED, _ENDED = range(6)
"""Places of a client's row in `sums`: window length, sum, variance sum, age, levels, was cut."""


@njit(cache=True)
def _insert(value: float, sums: Any, filled: Any, totals: Any, variances: Any) -> None:
    """Add one value as a bucket of size 1 and merge full levels upwards."""
    if sums[4] == 0.0:
        sums[4] = 1.0
    totals[0, filled[0]] = value
    variances[0, filled[0]] = 0.0
    filled[0] += 1
    sums[0] += 1.0
    if sums[0] > 1.0:
        deviation = value - sums[1] / (sums[0] - 1.0)
        sums[2] += (sums[0] - 1.0) * deviation * deviation / sums[0]
    sums[1] += value
    level = 0
    while filled[level] == _BUCKETS + 1:
        n = 2.0**level
        difference = totals[level, 0] / n - totals[level, 1] / n
        spread = n * n * difference * difference / (n + n)
        place = filled[level + 1]
        totals[level + 1, place] = totals[level, 0] + totals[level, 1]
        variances[level + 1, place] = variances[level, 0] + variances[level, 1] + spread
        filled[level + 1] += 1
        for k in range(2, filled[level]):
            totals[level, k - 2] = totals[level, k]
            variances[level, k - 2] = variances[level, k]
        filled[level] -= 2
        level += 1
        sums[4] = max(sums[4], level + 1.0)


@njit(cache=True)
def _drop_oldest(sums: Any, filled: Any, totals: Any, variances: Any) -> float:
    """Remove the oldest bucket; return its size."""
    level = int(sums[4]) - 1
    n = 2.0**level
    mean = totals[level, 0] / n
    sums[0] -= n
    sums[1] -= totals[level, 0]
    difference = mean - sums[1] / sums[0]
    sums[2] -= variances[level, 0] + n * sums[0] * difference * difference / (n + sums[0])
    for k in range(1, filled[level]):
        totals[level, k - 1] = totals[level, k]
        variances[level, k - 1] = variances[level, k]
    filled[level] -= 1
    if filled[level] == 0:
        sums[4] -= 1.0
    return n


@njit(cache=True)
def _differs(n0: float, n1: float, u0: float, u1: float, sums: Any, delta: float) -> bool:
    """Whether the means of the older n0 and the newer n1 values differ by more than chance."""
    if n0 < _PART or n1 < _PART:
        return False
    delta_prime = np.log(2.0 * np.log(sums[0]) / delta)
    m = 1.0 / (n0 - _PART + 1.0) + 1.0 / (n1 - _PART + 1.0)
    epsilon = np.sqrt(2.0 * m * (sums[2] / sums[0]) * delta_prime) + 2.0 / 3.0 * delta_prime * m
    return bool(abs(u0 / n0 - u1 / n1) > epsilon)


@njit(cache=True)
def _find_cut(sums: Any, filled: Any, totals: Any, delta: float) -> bool:
    """Whether some cut between buckets, oldest first, parts two different means."""
    n0, u0, n1, u1 = 0.0, 0.0, sums[0], sums[1]
    for level in range(int(sums[4]) - 1, -1, -1):
        n = 2.0**level
        for k in range(filled[level] if level else filled[0] - 1):
            n0 += n
            n1 -= n
            u0 += totals[level, k]
            u1 -= totals[level, k]
            if _differs(n0, n1, u0, u1, sums, delta):
                return True
    return False


@njit(cache=True)
def _update(
    rows: Any, losses: Any, sums: Any, filled: Any, totals: Any, variances: Any, delta: float
) -> Any:
    verdicts = np.zeros(len(rows), np.int8)
    means = np.zeros((len(rows), 2), np.float64)
    for i in range(len(rows)):
        row = rows[i]
        s = sums[row]
        if s[5] != 0.0:
            s[:] = 0.0
            filled[row] = 0
        _insert(losses[i], s, filled[row], totals[row], variances[row])
        s[3] += 1.0
        if s[3] % _CLOCK != 0 or s[0] <= _GRACE:
            continue
        before = s[1] / s[0]
        while s[0] > 0.0 and _find_cut(s, filled[row], totals[row], delta):
            _drop_oldest(s, filled[row], totals[row], variances[row])
            s[5] = 1.0
        if s[5] != 0.0:
            means[i, 0], means[i, 1] = before, s[1] / s[0]
            verdicts[i] = 1 if means[i, 1] > before else -1
    return verdicts, means


class LossWatch:
    """One ADWIN for each client row."""

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self._sums: F64 = np.zeros((0, 6))
        self._filled: I32 = np.zeros((0, _LEVELS + 1), np.int32)
        self._totals: F64 = np.zeros((0, _LEVELS + 1, _BUCKETS + 1))
        self._variances: F64 = np.zeros((0, _LEVELS + 1, _BUCKETS + 1))

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows, new ones with an empty window."""
        missing = clients - len(self._sums)
        if missing > 0:
            for name, array in self._arrays().items():
                wider = np.zeros((len(array) + missing, *array.shape[1:]), array.dtype)
                wider[: len(array)] = array
                setattr(self, name, wider)

    def update(self, rows: I32, losses: F64) -> tuple[I8, F64]:
        """Take n losses in order.

        Returns:
            verdicts (n,): `WORSENED`, `IMPROVED` or 0; means (n, 2): the window's mean before and
            after the cut, 0 where there is none.
        """
        verdicts: I8
        means: F64
        verdicts, means = _update(rows, losses, *self._arrays().values(), self.delta)
        return verdicts, means

    def widths(self) -> F64:
        """Length of each client's window."""
        return self._sums[:, _WIDTH].copy()

    def means(self) -> F64:
        """Mean loss of each client's window, NaN if it is empty."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self._sums[:, _TOTAL] / self._sums[:, _WIDTH])

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "_sums": self._sums,
            "_filled": self._filled,
            "_totals": self._totals,
            "_variances": self._variances,
        }

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Copies of the whole state."""
        return {name.lstrip("_"): array.copy() for name, array in self._arrays().items()}

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        for name in self._arrays():
            setattr(self, name, columns[name.lstrip("_")].copy())
