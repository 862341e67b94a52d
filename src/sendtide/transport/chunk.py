"""A chunk: consecutive messages of one topic partition, which cannot be had unacknowledged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import Message

__all__ = ["Chunk"]


class Chunk:
    """The unit of work of an agent: messages of one partition, in offset order.

    It counts as processed when the agent asks for the next chunk. An agent that works on several
    chunks at once says `hold()` and, when this one is wholly processed, `ack()`. Until then no
    offset at or past `first_offset` is committed for its partition. Use it from the event loop
    only.

    messages: `confluent_kafka.Message` objects. next_offset: one past the last message.
    generation: rises with every assignment in this process; a fence against late writers.
    size: bytes of the values.
    """

    __slots__ = (
        "_finished",
        "_holds",
        "_on_finish",
        "_passed",
        "first_offset",
        "generation",
        "messages",
        "next_offset",
        "partition",
        "size",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        messages: Sequence[Message],
        size: int,
        generation: int,
        on_finish: Callable[[int], None],
    ) -> None:
        first, last = messages[0].offset(), messages[-1].offset()
        assert first is not None
        assert last is not None
        self.topic = topic
        self.partition = partition
        self.messages = messages
        self.size = size
        self.generation = generation
        self.first_offset: int = first
        self.next_offset: int = last + 1
        self._on_finish = on_finish
        self._holds = 0
        self._passed = False
        self._finished = False

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        return f"<Chunk {self.topic}/{self.partition} [{self.first_offset}, {self.next_offset})>"

    @property
    def held(self) -> bool:
        """True between `hold()` and its `ack()`."""
        return self._holds > 0

    def hold(self) -> None:
        """Keep the chunk unacknowledged after the agent asks for the next; owe one `ack()`.

        Raises:
            RuntimeError: the chunk is already acknowledged; hold it while it is being worked on.
        """
        if self._finished:
            msg = f"{self!r} is already acknowledged: hold it before asking for the next chunk"
            raise RuntimeError(msg)
        self._holds += 1

    def ack(self) -> None:
        """Release one `hold()`: this chunk is wholly processed.

        Raises:
            RuntimeError: the chunk is not held; the next request acknowledges it by itself.
        """
        if self._holds == 0:
            msg = f"{self!r} is not held: call hold() first, or leave the ack to the next request"
            raise RuntimeError(msg)
        self._holds -= 1
        self._maybe_finish()

    def passed(self) -> None:
        """Called by the transport when every agent of the topic asked for the next chunk."""
        self._passed = True
        self._maybe_finish()

    def _maybe_finish(self) -> None:
        if self._passed and not self._holds and not self._finished:
            self._finished = True
            self._on_finish(self.first_offset)
