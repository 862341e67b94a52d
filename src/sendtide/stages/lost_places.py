"""Sends the client back to where a partition stands when its records wait and do not come.

A Kafka client can lose its place: it goes on with heartbeats and fetches nothing, or elsewhere,
while nothing of the partition is under way here. Sought to its position it begins anew; as a fetch
that is merely slow begins anew too, each further attempt waits twice as long as the one before.
What no attempt mends is a stall by the lag rules, and the watchdog ends the worker.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sendtide.transport import TopicPartition

__all__ = ["PATIENCE_S", "LostPlaces", "Waiting"]

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
"""A record that waits for so long, and does not come, is asked for again at the next look."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that can be had at or past `offset`, with nothing applied for `standing_s`."""

    offset: int
    standing_s: float


class LostPlaces:
    """What was done about partitions whose records do not come.

    times: attempts by partition, since this worker began.

    Args:
        fetch_again: seeks those that have nothing under way; returns the offsets it went to.
    """

    def __init__(
        self,
        fetch_again: Callable[
            [Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]
        ],
    ) -> None:
        self._fetch_again = fetch_again
        self._due_s: dict[TopicPartition, float] = {}
        self.times: Counter[TopicPartition] = Counter()

    async def find(self, waiting: Mapping[TopicPartition, Waiting]) -> None:
        """Have those fetched again that have waited long enough; all others move, or are done."""
        self._due_s = {place: due for place, due in self._due_s.items() if place in waiting}
        late = [p for p, w in waiting.items() if w.standing_s >= self._due_s.get(p, PATIENCE_S)]
        sought = await self._fetch_again(late) if late else {}
        for place, offset in sought.items():
            self.times[place] += 1
            standing_s = waiting[place].standing_s
            self._due_s[place] = 2 * standing_s + PATIENCE_S
            logger.warning(
                "%s/%d: records wait at offset %d and none has come for %.0f s, though nothing is "
                "under way: fetched again from there (attempt %d since this worker began)",
                *place,
                offset,
                standing_s,
                self.times[place],
            )
