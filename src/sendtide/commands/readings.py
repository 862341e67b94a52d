"""One look at the read model a second: the numbers that `up`, `bench` and `replay` go by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sendtide.events.topics import INPUTS
from sendtide.pipeline import Pipeline
from sendtide.sinks import ModelMetrics, Reader

__all__ = ["BUCKETS", "Reading", "Readings", "at_work", "summed_events"]

BUCKETS: Final = ("applied", "duplicate", "late", "dead_letter", "erased")
Totals = Mapping[str, Mapping[str, int]]


def summed_events(totals: Totals, pipeline: Pipeline) -> dict[str, int]:
    """Buckets over the three input topics and `in`, what the gates took in."""
    tables = [totals.get(pipeline.topics.full_name(topic), {}) for topic in INPUTS]
    events = {name: sum(table.get(name, 0) for table in tables) for name in BUCKETS}
    taken = sum(table.get("in", 0) for table in tables)
    return {"in": taken or sum(events.values()), **events}


def at_work(reader: Reader, workers: int = 1) -> bool:
    """Whether this many workers are heard of and hold partitions."""
    return sum(beat.partitions > 0 for beat in reader.workers()) >= workers


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one moment; speeds are since the reading before, freshness in seconds.

    counted: all counts of all topics together; it stands still when no worker does anything.
    """

    events: dict[str, int]
    counted: int
    predictions: int
    windows: int
    events_per_s: float
    predictions_per_s: float
    freshness_p50_s: float | None
    freshness_p99_s: float | None
    workers: int
    models: list[ModelMetrics] = field(repr=False)


class Readings:
    """Takes readings. Blocks while it reads."""

    def __init__(self, reader: Reader, pipeline: Pipeline) -> None:
        self._reader = reader
        self._pipeline = pipeline
        self._before: tuple[float, int, int] | None = None

    def take(self) -> Reading:
        """Read everything once.

        Raises:
            Unavailable: Redis does not answer.
        """
        totals = self._reader.totals()
        events = summed_events(totals, self._pipeline)
        predictions = sum(table.get("predictions", 0) for table in totals.values())
        now, before = time.monotonic(), self._before
        self._before = (now, events["in"], predictions)
        seconds = now - before[0] if before else 0.0
        workers = self._reader.workers()
        medians = [w.freshness_p50_s for w in workers if w.freshness_p50_s is not None]
        tails = [w.freshness_p99_s for w in workers if w.freshness_p99_s is not None]
        return Reading(
            events=events,
            counted=sum(sum(table.values()) for table in totals.values()),
            predictions=predictions,
            windows=sum(table.get("windows", 0) for table in totals.values()),
            events_per_s=(events["in"] - before[1]) / seconds if before and seconds else 0.0,
            predictions_per_s=(predictions - before[2]) / seconds if before and seconds else 0.0,
            freshness_p50_s=max(medians, default=None),
            freshness_p99_s=max(tails, default=None),
            workers=len(workers),
            models=self._reader.metrics(),
        )
