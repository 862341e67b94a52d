"""A chunk: consecutive messages of one topic partition, with the means to acknowledge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

__all__ = ["Chunk"]


class Chunk:
    """The unit of work: messages of one partition in offset order.

    Acknowledge it with `ack()`, or wrap the work in `with chunk:`, which acknowledges on a clean
    exit only. Until then no offset at or past `first_offset` is committed for its partition.

    messages: `confluent_kafka.Message` objects. next_offset: where the partition goes on.
    """

    __slots__ = ("_ack", "first_offset", "messages", "next_offset", "partition", "size", "topic")

    def __init__(
        self,
        topic: str,
        partition: int,
        messages: Sequence[Any],
        size: int,
        ack: Callable[[Chunk], None],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.messages = messages
        self.size = size
        self.first_offset: int = messages[0].offset()
        self.next_offset: int = messages[-1].offset() + 1
        self._ack = ack

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        return f"<Chunk {self.topic}/{self.partition} [{self.first_offset}, {self.next_offset})>"

    def ack(self) -> None:
        """Say that the chunk is wholly processed; a second call does nothing."""
        self._ack(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.ack()
