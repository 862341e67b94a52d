"""Which stage a partition belongs to when the consumer group gives or takes it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from sendtide.stages.stage import Stage
from sendtide.transport import TopicPartition, compare_partitions

__all__ = ["Ownership"]

_MINUTE_S: Final = 60.0


class Ownership:
    """The transport's `PartitionOwner`: hands each unit to its stage.

    partitions: that each topic must have; a number beyond is of a topic that was grown.
    """

    def __init__(self, stages: Sequence[Stage[Any]], partitions: Mapping[str, int]) -> None:
        self._partitions = dict(partitions)
        self._stage_of = {topic: stage for stage in stages for topic in stage.topics}
        self._moves: deque[float] = deque()

    def rebalances_per_minute(self) -> int:
        """How often partitions came or went in the last minute."""
        while self._moves and self._moves[0] < time.monotonic() - _MINUTE_S:
            self._moves.popleft()
        return len(self._moves)

    def _units(self, partitions: Set[TopicPartition]) -> set[tuple[Stage[Any], int]]:
        return {(self._stage_of[topic], number) for topic, number in partitions}

    async def assigned(self, partitions: Set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Recover the state; return where to fetch from.

        Raises:
            TopicMismatchError: a topic has been grown; keys have changed their place.
        """
        wanted = {topic: self._partitions[topic] for topic, _ in partitions}
        found = {topic: max(number + 1, wanted[topic]) for topic, number in sorted(partitions)}
        compare_partitions(wanted, found)
        self._moves.append(time.monotonic())
        starts: dict[TopicPartition, int] = {}
        try:
            for stage, number in self._units(partitions):
                offsets = await stage.assigned(number)
                starts |= {(topic, number): offset for topic, offset in offsets.items()}
        except BaseException:  # taken away meanwhile: none of it may be worked on
            for stage, number in self._units(partitions):
                stage.lost(number)
            raise
        return starts

    async def revoked(self, partitions: Set[TopicPartition]) -> None:
        """Finish and write down."""
        self._moves.append(time.monotonic())
        for stage, number in self._units(partitions):
            await stage.revoked(number)

    async def lost(self, partitions: Set[TopicPartition]) -> None:
        """Forget."""
        self._moves.append(time.monotonic())
        for stage, number in self._units(partitions):
            stage.lost(number)
