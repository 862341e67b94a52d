"""A chunk: consecutive messages of one topic partition, which cannot be had unacknowledged.

A chunk that waits grows by what is fetched meanwhile, until an agent looks into it: the fixed cost
of a chunk is paid once by an agent that has fallen behind, and an idle one waits for nothing.
"""

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
        "_messages",
        "_next_offset",
        "_on_finish",
        "_passed",
        "_sealed",
        "first_offset",
        "generation",
        "partition",
        "size",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        messages: list[Message],
        size: int,
        generation: int,
        on_finish: Callable[[Chunk], None],
    ) -> None:
        first = messages[0].offset()
        assert first is not None
        self.topic = topic
        self.partition = partition
        self.size = size
        self.generation = generation
        self.first_offset: int = first
        self._messages = messages
        self._next_offset = _end(messages)
        self._sealed = False
        self._on_finish = on_finish
        self._holds = 0
        self._passed = False
        self._finished = False

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        return f"<Chunk {self.topic}/{self.partition} [{self.first_offset}, {self._next_offset})>"

    @property
    def messages(self) -> Sequence[Message]:
        """The messages; from the first look on they are what they are."""
        self._sealed = True
        return self._messages

    @property
    def next_offset(self) -> int:
        """One past the last message; see `messages`."""
        self._sealed = True
        return self._next_offset

    @property
    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds) of the first message, as the client gives it."""
        kind, timestamp_ms = self._messages[0].timestamp()
        return kind, timestamp_ms

    def grow(self, messages: list[Message], size: int, limit: int) -> bool:
        """Take the messages that follow, unless an agent has looked; at most `limit` in all."""
        if self._sealed or len(self._messages) + len(messages) > limit:
            return False
        self._messages += messages
        self._next_offset = _end(messages)
        self.size += size
        return True

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
        self._sealed = True
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
        self._passed = self._sealed = True
        self._maybe_finish()

    def _maybe_finish(self) -> None:
        if self._passed and not self._holds and not self._finished:
            self._finished = True
            self._on_finish(self)


def _end(messages: Sequence[Message]) -> int:
    """One past the last offset."""
    last: int | None = messages[-1].offset()
    assert last is not None
    return last + 1
