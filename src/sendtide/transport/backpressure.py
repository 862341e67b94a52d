"""How much work each partition has in flight, shared between the poll thread and the loop."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Set

from sendtide.transport.rebalance import TopicPartition

__all__ = ["InFlight"]


class InFlight:
    """Pieces and bytes handed over and not finished, per partition, with a high-water mark.

    A piece is what the application finishes in one go: a chunk, or one event of an ordinary topic.

    Args:
        max_bytes, max_chunks, max_events: of one partition.
    """

    def __init__(self, max_bytes: int, max_chunks: int, max_events: int) -> None:
        self._max_bytes = max_bytes
        self._max_chunks = max_chunks
        self._max_events = max_events
        self._chunk_topics: frozenset[str] = frozenset()
        self._pieces: dict[TopicPartition, int] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._changed = threading.Condition()

    def count_chunks(self, topics: Iterable[str]) -> None:
        """Say which topics are finished by the chunk."""
        self._chunk_topics = frozenset(topics)

    def by_chunk(self, topic: str) -> bool:
        """True if a topic is finished by the chunk."""
        return topic in self._chunk_topics

    def add(self, partition: TopicPartition, messages: int, size: int) -> None:
        """Count messages of one fetch handed over."""
        pieces = 1 if self.by_chunk(partition[0]) else messages
        with self._changed:
            self._pieces[partition] = self._pieces.get(partition, 0) + pieces
            self._bytes[partition] = self._bytes.get(partition, 0) + size

    def remove(self, partition: TopicPartition, pieces: int, size: int) -> None:
        """Count pieces finished; a partition dropped meanwhile is ignored."""
        with self._changed:
            if partition in self._pieces:
                self._pieces[partition] -= pieces
                self._bytes[partition] -= size
                self._changed.notify_all()

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that were taken away."""
        with self._changed:
            for partition in partitions:
                self._pieces.pop(partition, None)
                self._bytes.pop(partition, None)
            self._changed.notify_all()

    def load(self, partition: TopicPartition) -> tuple[int, int]:
        """(pieces, bytes) in flight."""
        with self._changed:
            return self._pieces.get(partition, 0), self._bytes.get(partition, 0)

    def wait_below(
        self, timeout_s: float, paused: Set[TopicPartition] = frozenset()
    ) -> set[TopicPartition]:
        """Wait for every partition to be below its limit; return those that are still not.

        Those already paused are neither waited for nor returned: one slow partition must not hold
        up the others.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._over(1.0) - paused, timeout_s)
            return self._over(1.0) - paused

    def relieved(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of `partitions` that are at or below half of their limit."""
        with self._changed:
            return set(partitions) - self._over(0.5)

    def _over(self, share: float) -> set[TopicPartition]:
        return {
            partition
            for partition, pieces in self._pieces.items()
            if pieces >= max(1.0, share * self._limit(partition[0]))
            or self._bytes[partition] >= share * self._max_bytes
        }

    def _limit(self, topic: str) -> int:
        return self._max_chunks if topic in self._chunk_topics else self._max_events
