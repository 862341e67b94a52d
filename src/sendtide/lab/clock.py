"""Local hours of the week for many events in a few time zones.

Apart from `events.time` on purpose: the simulated truth must not share a mistake with the system.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

__all__ = ["HOUR_MS", "LocalClock"]

I64 = NDArray[np.int64]

HOUR_MS: Final = 3_600_000
_THURSDAY_HOURS: Final = 72  # 1970-01-01 was a Thursday; hour 0 of the week is Monday 00:00
_MAX_HOURS: Final = 1_000_000  # 114 years of cached offsets


class LocalClock:
    """Offsets of zones per UTC hour, looked up once each.

    Limit: right for zones whose transitions fall on whole UTC hours, as those used here do.
    """

    def __init__(self, zones: tuple[str, ...]) -> None:
        self._zones = [ZoneInfo(zone) for zone in zones]
        self._offsets: dict[int, list[int]] = {}

    def _offsets_ms(self, hour: int) -> list[int]:
        known = self._offsets.get(hour)
        if known is None:
            if len(self._offsets) >= _MAX_HOURS:
                self._offsets.clear()
            moment = datetime.fromtimestamp(hour * 3600, UTC)
            deltas = [moment.astimezone(zone).utcoffset() for zone in self._zones]
            known = [
                0 if delta is None else round(delta.total_seconds() * 1000) for delta in deltas
            ]
            self._offsets[hour] = known
        return known

    def hour_of_week(self, zone: NDArray[np.uint8], time_ms: I64) -> I64:
        """Hour of the week, 0 = Monday 00:00 local time; zone: index into the zones given."""
        if not len(time_ms):
            return np.zeros(0, np.int64)
        hours, inverse = np.unique(time_ms // HOUR_MS, return_inverse=True)
        offsets = np.array([self._offsets_ms(hour) for hour in hours.tolist()], np.int64)
        local = (time_ms + offsets[inverse, zone]) // HOUR_MS
        return (local + _THURSDAY_HOURS) % 168
