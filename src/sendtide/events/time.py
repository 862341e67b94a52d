"""Event time on the recipient's wall clock: hours of the week, daylight saving time included.

Zone rules come from the `tzdata` package, never from the machine: a replay on another machine must
give the same hours. A zone's transitions between 2000 and 2100 become two arrays the first time
the zone is met; from then on a look-up is a compiled binary search.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import find_slot, hash_text
from sendtide.events.messages import MAX_TIME_MS, MIN_TIME_MS

__all__ = ["ZoneTable", "known_zones", "offset_at", "zone_transitions"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]

_START_S: Final = MIN_TIME_MS // 1000
_END_S: Final = MAX_TIME_MS // 1000
_PROBE_S: Final = 7 * 86_400
"""Step of the search beyond a zone's last listed transition; standing rules change no oftener than
every few months."""
_EPOCH_HOUR_OF_WEEK: Final = 3 * 24
"""1970-01-01 was a Thursday."""
_EVER: Final = (-(2**62), 2**62)
"""Begin and end, in seconds, of what has none."""
_SLOTS: Final = 4096
"""Size of the hash table of zones: a power of two, several times the ~600 names there are."""


@cache
def known_zones() -> dict[int, str]:
    """Hash to name of every IANA zone of the `tzdata` package."""
    names = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
    return {hash_text(name): name for name in names}


def _zone_bytes(name: str) -> bytes:
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def _listed_transitions(data: bytes) -> list[int]:
    """Transition times (UTC seconds) of a TZif file of version 2 or later (RFC 8536)."""
    header = struct.Struct(">4s1s15x6I")
    _, _, utc, standard, leaps, times, types, letters = header.unpack_from(data)
    first_block = times * 5 + types * 6 + letters + leaps * 8 + standard + utc
    start = header.size + first_block
    count = header.unpack_from(data, start)[5]
    return list(struct.unpack_from(f">{count}q", data, start + header.size))


def _offset_s(zone: ZoneInfo, second: int) -> int:
    delta = datetime.fromtimestamp(second, UTC).astimezone(zone).utcoffset()
    assert delta is not None
    return int(delta.total_seconds())


def _change_between(zone: ZoneInfo, low: int, high: int) -> int:
    """First second after `low` with the offset of `high`; there is one change between them."""
    before = _offset_s(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_s(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high


@cache
def zone_transitions(name: str) -> tuple[I64, I64]:
    """Return (start of each period in UTC seconds, its offset from UTC in seconds).

    The first period starts at the beginning of 2000 and stands for all time before, the last
    begins before 2100 and stands for all time after.
    """
    data = _zone_bytes(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        zone = ZoneInfo.from_file(file, key=name)
    listed = [second for second in _listed_transitions(data) if _START_S < second < _END_S]
    starts = [_START_S, *listed]
    low = starts[-1]
    while low < _END_S:
        high = min(low + _PROBE_S, _END_S)
        if _offset_s(zone, low) != _offset_s(zone, high):
            starts.append(_change_between(zone, low, high))
        low = high
    offsets = [_offset_s(zone, second) for second in starts]
    keep = [i for i in range(len(starts)) if i == 0 or offsets[i] != offsets[i - 1]]
    return np.array(starts, np.int64)[keep], np.array(offsets, np.int64)[keep]


@njit(cache=True)
def _period_at(starts: Any, first: int, last: int, second: int) -> Any:
    """Which of the periods `[first, last)`, sorted by start, holds `second`."""
    low, high = first, last
    while high - low > 1:
        middle = (low + high) >> 1
        if starts[middle] <= second:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True)
def offset_at(starts: Any, offsets: Any, first: int, last: int, second: int) -> Any:
    """Offset (seconds) at `second` from the periods `[first, last)`, sorted by start."""
    return offsets[_period_at(starts, first, last, second)]


@njit(cache=True)
def _local_hours(
    times_ms: Any, zones: Any, codes: Any, bounds: Any, starts: Any, offsets: Any, hours: Any
) -> int:
    """Fill `hours`; return -1, or the first row whose zone is not in the table."""
    # Slots of a window follow each other, mostly in one period of one zone: it is kept.
    zone, begin, end, offset = np.uint64(0), _EVER[0], _EVER[1], np.int64(0)
    for row in range(len(times_ms)):
        second = times_ms[row] // 1000
        if zones[row] != zone or not begin <= second < end:
            zone, begin, end, offset = zones[row], _EVER[0], _EVER[1], np.int64(0)
            if zone != np.uint64(0):
                slot = find_slot(codes, zone)
                if codes[slot] == np.uint64(0):
                    return row
                first, last = bounds[slot, 0], bounds[slot, 1]
                period = _period_at(starts, first, last, second)
                offset = offsets[period]
                if period > first:
                    begin = starts[period]
                if period + 1 < last:
                    end = starts[period + 1]
        hours[row] = ((second + offset) // 3600 + _EPOCH_HOUR_OF_WEEK) % 168
    return -1


class ZoneTable:
    """Zone hash to its offsets, compiled when first met. Bounded by the number of IANA zones."""

    __slots__ = ("_bounds", "_codes", "_offsets", "_starts")

    def __init__(self) -> None:
        self._codes = np.zeros(_SLOTS, np.uint64)
        self._bounds = np.zeros((_SLOTS, 2), np.int64)
        self._starts: I64 = np.zeros(0, np.int64)
        self._offsets: I64 = np.zeros(0, np.int64)

    def local_hours(self, event_time_ms: I64, zone: U64) -> tuple[U8, U8]:
        """Return (hour of the week, 0 = Monday 00:00; hour of the day) on the local clock.

        `event_time_ms`: (n,) milliseconds since 1970, UTC. `zone`: (n,) hashes of zone names,
        0 for UTC.

        Raises:
            KeyError: a hash that belongs to no known zone; the gate lets none through.
        """
        hours = np.empty(len(event_time_ms), np.uint8)
        while True:
            row = _local_hours(
                event_time_ms, zone, self._codes, self._bounds, self._starts, self._offsets, hours
            )
            if row < 0:
                return hours, hours % np.uint8(24)
            self._compile(int(zone[row]))

    def _compile(self, code: int) -> None:
        starts, offsets = zone_transitions(known_zones()[code])
        slot = find_slot(self._codes, np.uint64(code))
        self._bounds[slot] = len(self._starts), len(self._starts) + len(starts)
        self._starts = np.concatenate([self._starts, starts])
        self._offsets = np.concatenate([self._offsets, offsets])
        self._codes[slot] = code
