"""The horizon as UTC hours, and a request's one moment in each of them.

A person's messages leave at a minute of the hour that is drawn once from the person's code, so that
an hour's messages are spread over it, and hours apart are exactly hours apart. Window, quiet hours
and score are judged at that very moment, with the zone's offset at that moment.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix
from sendtide.events.time import known_zones, offset_at, zone_transitions
from sendtide.schedule.problem import HOUR_MS, Constraints, Requests, check_horizon

__all__ = ["Grid", "moment", "slot_range"]

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_DAY_MS: Final = 24 * HOUR_MS
_MINUTE_MS: Final = 60_000
_EPOCH_HOUR_OF_WEEK: Final = 3 * 24
"""1970-01-01 was a Thursday."""


class Grid(NamedTuple):
    """Tables for compiled loops: n requests, z zones, s slots of one UTC hour.

    start_ms, end_ms: (n,) window, not before now. late_ms: (n,) the latest end if the window gives
    way. phase_ms: (n,) place inside an hour. zone: (n,) row of the offsets. before, after: (z, s)
    offset from UTC in seconds, `change`: second of the slot from which `after` holds.
    """

    first_ms: int
    start_ms: I64
    end_ms: I64
    late_ms: I64
    phase_ms: I64
    zone: I32
    before: I32
    after: I32
    change: I32
    quiet_from: int
    quiet_to: int

    @classmethod
    def of(cls, requests: Requests, rules: Constraints) -> Grid:
        """Tables of these requests.

        Raises:
            ConfigurationError: windows span more than can be scheduled at once.
        """
        start_ms = np.maximum(requests.window_start_ms, rules.not_before_ms)
        late_ms = np.maximum(requests.window_end_ms, start_ms) + rules.max_delay_ms
        # A whole day, so that a slot's day is found by division.
        first_ms = int(start_ms.min(initial=late_ms.max(initial=0))) // _DAY_MS * _DAY_MS
        last_ms = int(late_ms.max(initial=first_ms + 1))
        check_horizon(first_ms, last_ms)
        slots = -(-(last_ms - first_ms) // _DAY_MS) * 24
        codes, zone = np.unique(requests.zone, return_inverse=True)
        tables = [_offsets(int(code), first_ms, slots) for code in codes]
        before, after, change = (
            np.array([t[k] for t in tables], np.int32).reshape(len(codes), slots) for k in range(3)
        )
        phase_ms = _phases(requests.recipient)
        return cls(
            first_ms,
            start_ms,
            requests.window_end_ms,
            late_ms,
            phase_ms,
            zone.reshape(-1).astype(np.int32),
            before,
            after,
            change,
            *rules.quiet,
        )

    @property
    def slots(self) -> int:
        """Hours of the horizon, whole days."""
        return int(self.before.shape[1])


@njit(cache=True)
def _phases(recipients: Any) -> Any:
    """(n,) milliseconds into the hour, whole seconds."""
    out = np.empty(len(recipients), np.int64)
    for i in range(len(recipients)):
        out[i] = np.int64(mix(recipients[i]) % np.uint64(3_600)) * 1_000
    return out


@njit(cache=True)
def _offset_rows(starts: Any, offsets: Any, first_s: int, slots: int) -> Any:
    rows = np.empty((3, slots), np.int32)
    for slot in range(slots):
        begin = first_s + 3_600 * slot
        before = offset_at(starts, offsets, 0, len(starts), begin)
        after = offset_at(starts, offsets, 0, len(starts), begin + 3_599)
        low, high = 0, 3_600
        while high - low > 1 and before != after:
            middle = (low + high) // 2
            if offset_at(starts, offsets, 0, len(starts), begin + middle) == before:
                low = middle
            else:
                high = middle
        rows[0, slot], rows[1, slot], rows[2, slot] = before, after, high
    return rows


def _offsets(code: int, first_ms: int, slots: int) -> I32:
    """(3, slots): offset before and after the change inside each slot, and its second."""
    if code == 0:
        rows = np.zeros((3, slots), np.int32)
        rows[2] = 3_600
        return rows
    starts, offsets = zone_transitions(known_zones()[code])
    found: I32 = _offset_rows(starts, offsets, first_ms // 1_000, slots)
    return found


@njit(cache=True, inline="always")
def slot_range(grid: Any, i: int) -> Any:
    """Return (first slot, end of the slots inside the window, end of those at all)."""
    first = (grid.start_ms[i] - grid.first_ms) // HOUR_MS
    inside = (grid.end_ms[i] - 1 - grid.first_ms) // HOUR_MS + 1
    return first, max(inside, first), (grid.late_ms[i] - 1 - grid.first_ms) // HOUR_MS + 1


@njit(cache=True, inline="always")
def _local_second(grid: Any, i: int, slot: int, time_ms: int) -> Any:
    zone = grid.zone[i]
    inside = (time_ms - grid.first_ms) // 1_000 - slot * 3_600
    offset = grid.before[zone, slot] if inside < grid.change[zone, slot] else grid.after[zone, slot]
    return time_ms // 1_000 + offset


@njit(cache=True, inline="always")
def _is_quiet(grid: Any, minute: int) -> bool:
    if grid.quiet_from <= grid.quiet_to:
        return bool(grid.quiet_from <= minute < grid.quiet_to)
    return bool(minute >= grid.quiet_from or minute < grid.quiet_to)


@njit(cache=True)
def moment(grid: Any, i: int, slot: int) -> Any:
    """Return (time, hour of the week, quiet) of request `i` in `slot`, on the recipient's clock.

    Where the person's own minute is quiet, the end of the quiet hours, or else the minute before
    they begin, is taken if it lies in the slot too.
    """
    low = max(grid.first_ms + slot * HOUR_MS, grid.start_ms[i])
    high = grid.first_ms + (slot + 1) * HOUR_MS
    if low < grid.end_ms[i]:
        high = min(high, grid.end_ms[i])
    wished = min(max(grid.first_ms + slot * HOUR_MS + grid.phase_ms[i], low), high - 1)
    local = _local_second(grid, i, slot, wished)
    quiet = _is_quiet(grid, local // 60 % 1_440)
    time_ms = wished
    if quiet:
        minute = local // 60 % 1_440
        whole = wished - (wished % _MINUTE_MS)
        for attempt in range(2):
            if attempt == 0:
                other = whole + (grid.quiet_to - minute) % 1_440 * _MINUTE_MS
            else:
                other = whole - ((minute - grid.quiet_from) % 1_440 + 1) * _MINUTE_MS
            if low <= other < high and quiet:
                at = _local_second(grid, i, slot, other)
                if not _is_quiet(grid, at // 60 % 1_440):
                    time_ms, local, quiet = other, at, False
    return time_ms, (local // 3_600 + _EPOCH_HOUR_OF_WEEK) % 168, quiet
