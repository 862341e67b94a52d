"""How far each partition of a worker is behind, looked at every few seconds.

Three offsets are compared: what the state holds (`applied`), what the group has committed, and
where the log ends. A log ends behind markers of transactions, which no reader ever gets: before
anything is called stalled, or asked for again (`lost_places`), it is tried whether there is a
record to be had at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from sendtide.monitoring import LagSample, LagWindow, Status
from sendtide.sinks import PartitionLag
from sendtide.stages.held import Held
from sendtide.stages.lost_places import PATIENCE_S, LostPlaces, Waiting
from sendtide.stages.offsets import OffsetLookup
from sendtide.stages.stage import Stage

__all__ = ["Health"]

logger = logging.getLogger(__name__)

_Place = tuple[str, int]


class Health:
    """Lag windows of all partitions that the stages hold.

    lags: as of the last look.
    """

    def __init__(
        self, stages: Sequence[Stage[Any]], offsets: OffsetLookup, lost_places: LostPlaces
    ) -> None:
        self._stages = stages
        self._offsets = offsets
        self._lost_places = lost_places
        self._windows: dict[_Place, LagWindow] = {}
        self._empty: dict[_Place, tuple[int, int]] = {}
        self._waiting: dict[_Place, Waiting] = {}
        self.lags: list[PartitionLag] = []

    @property
    def stalled(self) -> list[str]:
        """`topic/partition` of what stands still though there is work."""
        return [f"{lag.topic}/{lag.partition}" for lag in self.lags if lag.status == "stall"]

    def snapshot_age_s(self) -> float | None:
        """Age of the oldest snapshot of a partition that has moved since."""
        now = time.monotonic()
        ages = [
            now - held.written_at
            for stage in self._stages
            for held in stage.held.values()
            if held.snapshot_at != held.runtime.positions.applied
        ]
        return max(ages, default=None)

    async def look(self) -> None:
        """Take a sample of every partition held; those given away are forgotten.

        A partition whose records wait and do not come is fetched again.

        Raises:
            Unavailable: the broker does not answer; the last look stands.
        """
        found: list[PartitionLag] = []
        self._waiting.clear()
        for stage in self._stages:
            for held in tuple(stage.held.values()):
                found += await self._look_at(stage.topics, held)
        places = {(lag.topic, lag.partition) for lag in found}
        for kept in (self._windows, self._empty):
            for place in kept.keys() - places:
                del kept[place]
        self._tell(found)
        self.lags = found
        await self._lost_places.find(self._waiting)

    async def _look_at(self, topics: Sequence[str], held: Held[Any]) -> list[PartitionLag]:
        units = [(topic, held.number) for topic in topics]
        committed = await asyncio.to_thread(self._offsets.committed, units)
        ends = await asyncio.to_thread(self._offsets.log, units)
        rows = []
        for topic, number in units:
            applied = held.runtime.positions.applied[topic]
            lag = max(0, ends[topic][1] - applied)
            status, lag = await self._judge((topic, number), applied, lag)
            age_s = max(0.0, time.time() - held.reached_ms.get(topic, 0) / 1000)
            rows.append(
                PartitionLag(
                    topic=topic,
                    partition=number,
                    status=status,
                    lag_records=lag,
                    lag_s=age_s if lag and topic in held.reached_ms else 0.0,
                    uncommitted_records=max(0, applied - committed.get(topic, applied)),
                    unattended_s=held.handover.unattended_s,
                    lost_places=self._lost_places.times[topic, number],
                )
            )
        return rows

    async def _judge(self, place: _Place, applied: int, lag: int) -> tuple[Status, int]:
        if self._empty.get(place) == (applied, lag):
            lag = 0
        now_s, window = time.monotonic(), self._windows.setdefault(place, LagWindow())
        window.add(LagSample(now_s, applied, lag))
        status, standing_s = window.status(now_s), window.standing_s()
        if status != "stall" and standing_s < PATIENCE_S:
            return status, lag
        if not await asyncio.to_thread(self._offsets.has_record, *place, applied):
            self._empty[place] = (applied, lag)
            return await self._judge(place, applied, lag)
        self._waiting[place] = Waiting(applied, standing_s)
        return status, lag

    def _tell(self, found: Sequence[PartitionLag]) -> None:
        """Log what has become worse or well since the last look."""
        before = {(lag.topic, lag.partition): lag.status for lag in self.lags}
        for lag in found:
            if lag.status != before.get((lag.topic, lag.partition), "ok"):
                level = logging.INFO if lag.status == "ok" else logging.WARNING
                logger.log(
                    level,
                    "%s/%d: lag is %s, %d records and %.1f s behind",
                    lag.topic,
                    lag.partition,
                    lag.status,
                    lag.lag_records,
                    lag.lag_s,
                )
