"""The application's say in where a partition starts and what happens when it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sendtide.transport.commits import TopicPartition

__all__ = ["PartitionOwner"]


class PartitionOwner(Protocol):
    """Called in the event loop during a rebalance; kept partitions are not mentioned.

    Keep these short: the poll loop of this worker waits for them (librdkafka's own heartbeats go
    on). Long recoveries belong behind the first chunk of the partition, not in here.
    """

    async def assigned(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset to start from; a partition left out starts at its committed offset,
        or at the earliest record if it has none.
        """
        ...

    async def revoked(self, partitions: set[TopicPartition]) -> None:
        """Finish or abandon work of these; whatever is acknowledged on return is committed."""
        ...

    async def lost(self, partitions: set[TopicPartition]) -> None:
        """Drop these at once: another worker may already hold them; nothing is committed."""
        ...
