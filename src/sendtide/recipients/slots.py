"""Slots of windows: the times at which a message may be sent, and those with the highest scores."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.events.records import HOURS_PER_WEEK

__all__ = ["best_slots", "slot_times"]

_HOUR_MS: Final = 3_600_000


@njit(cache=True)
def slot_times(window_start_ms: Any, window_end_ms: Any) -> Any:
    """Cut n windows at whole hours, the first part from the window's start; at most a week.

    Returns:
        (times of all slots, one window's after another's; (n + 1,) where each one's begin).
    """
    n = len(window_start_ms)
    starts = np.zeros(n + 1, np.int64)
    for i in range(n):
        after = window_end_ms[i] - (window_start_ms[i] // _HOUR_MS + 1) * _HOUR_MS
        count = 1 + max(-(-after // _HOUR_MS), 0)
        starts[i + 1] = starts[i] + min(count, HOURS_PER_WEEK)
    times = np.empty(starts[n], np.int64)
    for i in range(n):
        times[starts[i]] = window_start_ms[i]
        hour = window_start_ms[i] // _HOUR_MS - starts[i]
        for at in range(starts[i] + 1, starts[i + 1]):
            times[at] = (hour + at) * _HOUR_MS
    return times, starts


@njit(cache=True)
def best_slots(hours: Any, starts: Any, scores: Any, count: int) -> Any:
    """(n, count) places in each window of its highest scores, the earlier of equals first; else -1.

    hours: of the week, of all slots, `starts` as of `slot_times`. scores: (n, 168).
    """
    n = len(starts) - 1
    best = np.full((n, count), -1, np.int64)
    for i in range(n):
        first, filled = starts[i], 0
        for s in range(starts[i + 1] - first):
            score, at = scores[i, hours[first + s]], filled
            while at > 0 and score > scores[i, hours[first + best[i, at - 1]]]:
                if at < count:
                    best[i, at] = best[i, at - 1]
                at -= 1
            if at < count:
                best[i, at] = s
                filled = min(filled + 1, count)
    return best
