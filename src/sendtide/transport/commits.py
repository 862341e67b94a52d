"""What may be committed: one integer per partition, the end of the finished prefix.

Pure bookkeeping, no I/O. Work of a partition is registered in offset order; it may finish in any
order; the committable offset never passes work that has not finished.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["PartitionLedger", "TopicPartition"]

TopicPartition = tuple[str, int]


class PartitionLedger:
    """In-flight work of every assigned partition."""

    def __init__(self) -> None:
        self._in_flight: dict[TopicPartition, OrderedDict[int, int]] = {}
        self._finished: dict[TopicPartition, set[int]] = {}
        self._bytes: dict[TopicPartition, dict[int, int]] = {}
        self._committable: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}

    def add_partition(self, partition: TopicPartition) -> None:
        """Begin to keep count of a newly assigned partition."""
        self._in_flight.setdefault(partition, OrderedDict())
        self._finished.setdefault(partition, set())
        self._bytes.setdefault(partition, {})

    def drop_partition(self, partition: TopicPartition) -> None:
        """Forget a partition that was revoked or lost; its unfinished work no longer counts."""
        for table in (
            self._in_flight,
            self._finished,
            self._bytes,
            self._committable,
            self._committed,
        ):
            table.pop(partition, None)  # type: ignore[attr-defined]

    def register(self, partition: TopicPartition, first: int, next_offset: int, size: int) -> None:
        """Note work over [first, next_offset) of `size` bytes, in offset order.

        Raises:
            ValueError: the work overlaps or precedes work registered before.
        """
        work = self._in_flight[partition]
        if work and first < next(reversed(work.values())):
            msg = f"{partition}: work from {first} overlaps work in flight"
            raise ValueError(msg)
        work[first] = next_offset
        self._bytes[partition][first] = size

    def finish(self, partition: TopicPartition, first: int) -> bool:
        """Note that the work from `first` is done; False if it is unknown or done already."""
        work = self._in_flight.get(partition)
        if work is None or first not in work or first in self._finished[partition]:
            return False
        finished = self._finished[partition]
        finished.add(first)
        while work:
            oldest = next(iter(work))
            if oldest not in finished:
                break
            finished.discard(oldest)
            self._bytes[partition].pop(oldest)
            self._committable[partition] = work.pop(oldest)
        return True

    def in_flight(self, partition: TopicPartition) -> tuple[int, int]:
        """Return (pieces of work, bytes) not yet in the finished prefix."""
        return (
            len(self._in_flight.get(partition, ())),
            sum(self._bytes.get(partition, {}).values()),
        )

    def committable(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets that may be committed now and have not been."""
        return {
            p: self._committable[p]
            for p in partitions
            if p in self._committable and self._committable[p] != self._committed.get(p)
        }

    def committed(self, offsets: dict[TopicPartition, int]) -> None:
        """Note that the broker has confirmed these offsets."""
        for partition, offset in offsets.items():
            if partition in self._in_flight:
                self._committed[partition] = offset

    def partitions(self) -> set[TopicPartition]:
        """Return the partitions held now."""
        return set(self._in_flight)
