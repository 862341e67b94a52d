"""From p-values to alarms: false discoveries held down, small effects ignored, flapping damped.

All series of one closing window are judged together by Benjamini & Hochberg's procedure
("Controlling the false discovery rate", JRSS B 57 (1995) 289-300). A series is out of line in a
window if it is a discovery and its effect reaches the floor. Its alarm::

    quiet  --dwell windows in a row out of line-->  firing
    firing --dwell windows in a row in line------>  quiet

Windows in which a series has too few rows change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AlarmSettings", "Alarms", "Changes", "discoveries"]

Bool = NDArray[np.bool_]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """alpha: false discovery rate. floor: smallest effect. dwell: windows to open and to close."""

    alpha: float
    floor: float
    dwell: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Alarms that one window opened and closed.

    firing, resolved: (n, 2) indices (client, series). The times say where the first window of the
    dwell began, (n,), ms.
    """

    firing: I64
    resolved: I64
    firing_since_ms: I64
    resolved_since_ms: I64


def discoveries(p_values: F64, alpha: float) -> Bool:
    """Return which of the p-values, any shape, are discoveries at false discovery rate `alpha`."""
    flat = p_values.ravel()
    if not len(flat):
        return np.zeros(p_values.shape, bool)
    ordered = np.sort(flat)
    passing = np.flatnonzero(ordered <= alpha * np.arange(1, len(flat) + 1) / len(flat))
    if not len(passing):
        return np.zeros(p_values.shape, bool)
    return np.asarray(p_values <= ordered[passing[-1]])


class Alarms:
    """Alarm states of (clients, series)."""

    def __init__(self, series: int, settings: AlarmSettings) -> None:
        self.settings = settings
        self.firing: Bool = np.zeros((0, series), bool)
        self.since_ms: I64 = np.zeros((0, series), np.int64)
        self._streak: I64 = np.zeros((0, series), np.int64)
        self._streak_start_ms: I64 = np.zeros((0, series), np.int64)

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows; new ones are quiet."""
        missing = clients - len(self.firing)
        if missing > 0:
            for name, array in self._arrays().items():
                setattr(self, name, np.pad(array, ((0, missing), (0, 0))))

    def judge(self, effects: F64, p_values: F64, judged: Bool, window_start_ms: int) -> Changes:
        """Take one window's scores of (clients, series); only those `judged` count."""
        out_of_line = np.zeros_like(judged)
        out_of_line[judged] = discoveries(p_values[judged], self.settings.alpha)
        out_of_line &= effects >= self.settings.floor
        against = judged & (out_of_line != self.firing)
        begins = against & (self._streak == 0)
        self._streak_start_ms[begins] = window_start_ms
        self._streak[against] += 1
        self._streak[judged & ~against] = 0
        turned = against & (self._streak >= self.settings.dwell)
        firing, resolved = turned & ~self.firing, turned & self.firing
        self.firing[turned] = ~self.firing[turned]
        self.since_ms[turned] = self._streak_start_ms[turned]
        self._streak[turned] = 0
        return Changes(
            np.argwhere(firing),
            np.argwhere(resolved),
            self.since_ms[firing],
            self.since_ms[resolved],
        )

    def warning(self) -> Bool:
        """Series that are out of line but not yet for long enough to fire."""
        return np.asarray(~self.firing & (self._streak > 0))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "firing": self.firing,
            "since_ms": self.since_ms,
            "_streak": self._streak,
            "_streak_start_ms": self._streak_start_ms,
        }

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Copies of all states."""
        return {name.lstrip("_"): array.copy() for name, array in self._arrays().items()}

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        for name in self._arrays():
            setattr(self, name, columns[name.lstrip("_")].copy())
