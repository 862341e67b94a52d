"""A chunk: consecutive records of one topic partition, which cannot be had unacknowledged.

A chunk that waits grows by what is fetched meanwhile, until an agent looks into it: the fixed cost
of a chunk is paid once by an agent that has fallen behind, and an idle one waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from sendtide.transport.record_batch import RecordBatch

__all__ = ["Chunk"]


class Chunk:
    """The unit of work of an agent: records of one partition, in offset order.

    It counts as processed when the agent asks for the next chunk. An agent that works on several
    chunks at once says `hold()` and, when this one is wholly processed, `ack()`. Until then no
    offset at or past `first_offset` is committed for its partition. Use it from the event loop
    only.

    generation: rises with every assignment in this process; a fence against late writers.
    size: bytes of the records.
    """

    __slots__ = (
        "_batches",
        "_finished",
        "_holds",
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
        batch: RecordBatch,
        generation: int,
        on_finish: Callable[[Chunk], None],
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.size = batch.nbytes
        self.generation = generation
        self.first_offset = batch.first_offset
        self._batches = [batch]
        self._sealed = False
        self._on_finish = on_finish
        self._holds = 0
        self._passed = False
        self._finished = False

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<Chunk {self.topic}/{self.partition} [{self.first_offset}, {self._end})>"

    @property
    def records(self) -> RecordBatch:
        """The records; from the first look on they are what they are."""
        self._sealed = True
        if len(self._batches) > 1:
            self._batches = [RecordBatch.joined(self._batches)]
        return self._batches[0]

    @property
    def next_offset(self) -> int:
        """One past the last record; see `records`."""
        self._sealed = True
        return self._end

    @property
    def timestamp_ms(self) -> int:
        """Kafka timestamp of the first record."""
        return int(self._batches[0].timestamps_ms[0])

    def grow(self, batch: RecordBatch, limit: int) -> bool:
        """Take the records that follow, unless an agent has looked; at most `limit` in all."""
        if self._sealed or sum(map(len, self._batches)) + len(batch) > limit:
            return False
        self._batches.append(batch)
        self.size += batch.nbytes
        return True

    @property
    def _end(self) -> int:
        return self._batches[-1].next_offset

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
