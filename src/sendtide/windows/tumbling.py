"""Tumbling windows over event time: counts by (client row, series, bin), closed by a watermark.

Rows come from several origins, each in about the order of time, but one may be far behind another,
say while it catches up. So the watermark is the oldest of the origins' newest times minus the
allowed lateness; it never falls. A window closes with the row that lifts the watermark to its end;
a row whose window is closed is late: counted, not added.
A window with fewer rows than anybody could judge is dropped when it closes: a replayed archive or
a quiet night closes as many windows as it has rows, and a window would be the price of a row.
`OPEN_WINDOWS` places in a ring hold the open windows. An origin that falls silent would keep them
open for ever, so the watermark stays at most that many windows behind the newest row of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["OPEN_WINDOWS", "SKIP", "ClosedWindow", "TumblingCounts"]

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

OPEN_WINDOWS: Final = 64
SKIP: Final = 255
"""A bin that is not counted: the series has nothing to be compared with yet."""
_FREE: Final = -1
_NO_TIME: Final = -(1 << 62)
_LONGEST_LIST: Final = 4_096
"""Rows of a window that are remembered one by one, so that dropping it costs no more than they."""
_NEWEST, _LATE, _WATERMARK = range(3)
"""Places in `clock`."""


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A finished window. counts: int32 (clients, series, bins)."""

    start_ms: int
    end_ms: int
    counts: I32


@njit(cache=True)
def _drop_small(
    watermark: int, size_ms: int, ring: Any, filled: Any, lists: Any, counts: Any
) -> tuple[Any, bool]:
    """Drop windows that are due and hold too few rows; return (end of the oldest, any other due).

    filled: (windows,) rows in each. lists: (windows, fewest) client row of each.
    """
    oldest_end = np.int64(1 << 62)
    others = False
    for slot in range(len(ring)):
        if ring[slot] == -1:
            continue
        end = (ring[slot] + 1) * size_ms
        if end <= watermark and filled[slot] < lists.shape[1]:
            for k in range(filled[slot]):
                counts[slot, lists[slot, k]] = 0
            filled[slot] = 0
            ring[slot] = -1
            continue
        oldest_end = min(oldest_end, end)
        others = others or end <= watermark
    return oldest_end, others


@njit(cache=True)
def _oldest(newest: Any) -> Any:
    """Oldest of the newest times of the origins that rows came from."""
    found = np.int64(1 << 62)
    for origin in range(len(newest)):
        if newest[origin] != _NO_TIME:
            found = min(found, newest[origin])
    return found


@njit(cache=True)
def _add_rows(
    begin: int,
    rows: Any,
    times: Any,
    origins: Any,
    bins: Any,
    limits: Any,
    clock: Any,
    newest: Any,
    ring: Any,
    filled: Any,
    lists: Any,
    counts: Any,
) -> int:
    """Add rows from `begin` until one closes a window; return how many rows are done.

    limits: size, lateness, how far the watermark may be behind. newest: (origins,) newest times.
    """
    size_ms, lateness_ms, behind_ms = limits
    oldest_end, _ = _drop_small(-(1 << 62), size_ms, ring, filled, lists, counts)
    slowest = _oldest(newest)
    for i in range(begin, len(rows)):
        number = times[i] // size_ms
        end = (number + 1) * size_ms
        # A late row counts here too: its origin is behind, and the others are to wait for it.
        before = newest[origins[i]]
        if times[i] > before:
            newest[origins[i]] = times[i]
            if before <= slowest:  # of the slowest, or its first row
                slowest = _oldest(newest)
        if end <= clock[2]:
            clock[1] += 1
            continue
        clock[0] = max(clock[0], times[i])
        watermark = max(slowest - lateness_ms, clock[0] - behind_ms)
        clock[2] = max(clock[2], watermark)
        if clock[2] >= oldest_end:
            oldest_end, full = _drop_small(clock[2], size_ms, ring, filled, lists, counts)
            if full:
                # The row closes windows whose places it may need: they are taken out first.
                return i
        slot = number % len(ring)
        ring[slot] = number
        oldest_end = min(oldest_end, end)
        if filled[slot] < lists.shape[1]:
            lists[slot, filled[slot]] = rows[i]
        filled[slot] += 1
        for j in range(bins.shape[1]):
            if bins[i, j] != 255:
                counts[slot, rows[i], j, bins[i, j]] += 1
    return len(rows)


class TumblingCounts:
    """Open windows of one partition.

    Args:
        size_ms: length of a window; windows start at whole multiples of it.
        lateness_ms: how far behind the newest row a row may be.
        series: how many series a row has.
        bins: how many bins each has.
        fewest: windows with fewer rows, of all clients together, are dropped and not returned.
    """

    def __init__(
        self, size_ms: int, lateness_ms: int, series: int, bins: int, fewest: int = 0
    ) -> None:
        if size_ms <= 0 or lateness_ms < 0:
            msg = f"window of {size_ms} ms with lateness {lateness_ms} ms; allowed: > 0 and >= 0"
            raise ValueError(msg)
        self.size_ms = size_ms
        self.lateness_ms = min(lateness_ms, (OPEN_WINDOWS - 2) * size_ms)
        self._clock: I64 = np.array([_NO_TIME, 0, _NO_TIME], np.int64)
        self._newest: I64 = np.full(1, _NO_TIME, np.int64)
        self._ring: I64 = np.full(OPEN_WINDOWS, _FREE, np.int64)
        self._counts: I32 = np.zeros((OPEN_WINDOWS, 1, series, bins), np.int32)
        self._filled: I64 = np.zeros(OPEN_WINDOWS, np.int64)
        self._lists: I32 = np.zeros((OPEN_WINDOWS, min(fewest, _LONGEST_LIST)), np.int32)

    @property
    def late(self) -> int:
        """Rows refused because their window was closed."""
        return int(self._clock[_LATE])

    @property
    def watermark_ms(self) -> int:
        """Windows that end here or before are closed."""
        return int(self._clock[_WATERMARK])

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        held = self._counts.shape[1]
        if clients > held:
            shape = (OPEN_WINDOWS, max(clients, 2 * held), *self._counts.shape[2:])
            wider = np.zeros(shape, np.int32)
            for slot in np.flatnonzero(self._ring != _FREE):
                wider[slot, :held] = self._counts[slot]
            self._counts = wider

    def add(
        self, rows: I32, times: I64, bins: U8, origins: NDArray[Any] | None = None
    ) -> list[ClosedWindow]:
        """Count n rows in order; return the windows they closed, in order.

        Args:
            rows: (n,) client rows, below what `grow` was told.
            times: (n,) event times, ms.
            bins: (n, series) bin of each series, `SKIP` to leave one out.
            origins: (n,) where they come from, small numbers; all from 0 if not given.
        """
        if not len(rows):
            return []
        origins = np.zeros(len(rows), np.uint16) if origins is None else origins
        self._know(int(origins.max()))
        limits = self.size_ms, self.lateness_ms, (OPEN_WINDOWS - 2) * self.size_ms
        closed: list[ClosedWindow] = []
        done = 0
        while True:
            done = _add_rows(
                done,
                rows,
                times,
                origins,
                bins,
                limits,
                self._clock,
                self._newest,
                self._ring,
                self._filled,
                self._lists,
                self._counts,
            )
            if done == len(rows):
                break
            closed += self._close()
        return closed

    def _know(self, origin: int) -> None:
        missing = max(origin + 1 - len(self._newest), 0)
        self._newest = np.append(self._newest, np.full(missing, _NO_TIME, np.int64))

    def _close(self) -> list[ClosedWindow]:
        """Take out every window the watermark has passed, oldest first."""
        ends = (self._ring + 1) * self.size_ms
        due = np.flatnonzero((self._ring != _FREE) & (ends <= self.watermark_ms))
        closed = []
        for slot in due[np.argsort(self._ring[due])]:
            end = int(ends[slot])
            closed.append(ClosedWindow(end - self.size_ms, end, self._counts[slot].copy()))
            self._counts[slot] = 0
            self._filled[slot] = 0
            self._ring[slot] = _FREE
        return closed

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """The open windows, in order of time, and the clock; copies, `clients` rows each."""
        slots = np.flatnonzero(self._ring != _FREE)
        slots = slots[np.argsort(self._ring[slots])]
        held = self._counts[slots, :clients]
        origins = np.flatnonzero(self._newest != _NO_TIME)
        return {
            "clock": self._clock.copy(),
            "origins": origins,
            "origins_newest": self._newest[origins],
            "numbers": self._ring[slots],
            "counts": held,
        }

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        counts = columns["counts"]
        self.grow(counts.shape[1])
        self._clock[:] = columns["clock"]
        self._newest = np.full(1, _NO_TIME, np.int64)
        self._know(int(columns["origins"].max(initial=0)))
        self._newest[columns["origins"]] = columns["origins_newest"]
        self._ring[:] = _FREE
        self._counts[:] = 0
        for number, table in zip(columns["numbers"].tolist(), counts, strict=True):
            self._ring[number % OPEN_WINDOWS] = number
            self._counts[number % OPEN_WINDOWS, : len(table)] = table
        self._recount()

    def _recount(self) -> None:
        """Find again which client rows each window holds, and no fewer rows than it has."""
        self._filled[:] = 0
        for slot in np.flatnonzero(self._ring != _FREE):
            held = np.flatnonzero(self._counts[slot].any(axis=(1, 2)))
            most = int(self._counts[slot].sum(axis=(0, 2)).max(initial=0))
            self._filled[slot] = max(most, len(held))
            listed = held[: self._lists.shape[1]]
            self._lists[slot, : len(listed)] = listed
            self._lists[slot, len(listed) :] = 0
