"""Which stage a partition belongs to when the consumer group gives or takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from sendtide.stages.stage import Stage
from sendtide.transport import TopicPartition

__all__ = ["Ownership"]


class Ownership:
    """The transport's `PartitionOwner`: hands each unit to its stage."""

    def __init__(self, stages: Sequence[Stage[Any]]) -> None:
        self._stage_of = {topic: stage for stage in stages for topic in stage.topics}

    def _units(self, partitions: Set[TopicPartition]) -> set[tuple[Stage[Any], int]]:
        return {(self._stage_of[topic], number) for topic, number in partitions}

    async def assigned(self, partitions: Set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Recover the state; return where to fetch from."""
        starts: dict[TopicPartition, int] = {}
        for stage, number in self._units(partitions):
            offsets = await stage.assigned(number)
            starts |= {(topic, number): offset for topic, offset in offsets.items()}
        return starts

    async def revoked(self, partitions: Set[TopicPartition]) -> None:
        """Finish and write down."""
        for stage, number in self._units(partitions):
            await stage.revoked(number)

    async def lost(self, partitions: Set[TopicPartition]) -> None:
        """Forget."""
        for stage, number in self._units(partitions):
            stage.lost(number)
