"""The envelope in which Faust's conductor and streams see a chunk or an event."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from confluent_kafka import Message
from faust.types import TP, ConsumerMessage

from sendtide.transport.chunk import Chunk

__all__ = ["STALE", "Envelope", "chunk_envelope", "event_envelope"]

#: A generation no app has; streams skip such messages without acknowledging them.
STALE = -1


class Envelope(ConsumerMessage):
    """A Faust message that reports its acknowledgement through its `acked` attribute.

    Faust has two implementations of the acknowledgement, one of them compiled, which writes into
    the consumer's tables directly. Both set `acked` exactly when the last stream has passed the
    message, so that is where we listen. A stream also acknowledges while it is being closed,
    because its agent raised or was cancelled: then `on_passed(True)` is called.
    """

    _acked = False
    on_passed: Callable[[bool], None] | None = None

    @property
    def acked(self) -> bool:
        """True once every stream has passed this message."""
        return self._acked

    @acked.setter
    def acked(self, value: bool) -> None:
        passed_now = value and not self._acked
        self._acked = value
        if passed_now and self.on_passed is not None:
            self.on_passed(sys.exc_info()[0] is GeneratorExit)


def chunk_envelope(partition: TP, chunk: Chunk, generation: int) -> Envelope:
    """Wrap a chunk; the time is that of its first record."""
    return Envelope(
        partition.topic,
        partition.partition,
        chunk.first_offset,
        chunk.timestamp_ms / 1000.0,
        None,
        [],
        None,
        chunk,
        None,
        tp=partition,
        generation_id=generation,
    )


def event_envelope(partition: TP, record: Message, generation: int) -> Envelope:
    """Wrap one record of an ordinary topic as Faust's own driver does."""
    kind, timestamp_ms = record.timestamp()
    headers: Any = record.headers() or []
    return Envelope(
        partition.topic,
        partition.partition,
        record.offset(),
        timestamp_ms / 1000.0,
        kind,
        headers,
        record.key(),
        record.value(),
        None,
        tp=partition,
        generation_id=generation,
    )
