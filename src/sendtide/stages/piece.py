"""A transport chunk, or part of one; the chunk is acknowledged when all its parts are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Piece"]

_SECOND: Final = itemgetter(1)


class _Countdown:
    """Calls `acknowledge` once `parts` parts have been finished."""

    __slots__ = ("_acknowledge", "parts")

    def __init__(self, acknowledge: Callable[[], None]) -> None:
        self.parts = 1
        self._acknowledge = acknowledge

    def finish(self) -> None:
        self.parts -= 1
        if self.parts == 0:
            self._acknowledge()


@dataclass(slots=True)
class Piece:
    """Consecutive messages of one topic partition.

    messages: `confluent_kafka.Message` objects in offset order. `finish()` must be called once.
    """

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    messages: Sequence[Any]
    countdown: _Countdown

    @classmethod
    def whole(cls, chunk: Any) -> Self:
        """The whole of a `transport.Chunk`, which is held until this piece is finished."""
        chunk.hold()
        return cls(
            chunk.topic,
            chunk.partition,
            chunk.first_offset,
            chunk.next_offset,
            chunk.messages,
            _Countdown(chunk.ack),
        )

    def split(self, offset: int) -> tuple[Self, Self]:
        """Cut into the messages before `offset` and those from it on."""
        cut = int(np.searchsorted(self.offsets(), offset))
        self.countdown.parts += 1
        before = type(self)(
            self.topic,
            self.partition,
            self.first_offset,
            offset,
            self.messages[:cut],
            self.countdown,
        )
        after = type(self)(
            self.topic,
            self.partition,
            offset,
            self.next_offset,
            self.messages[cut:],
            self.countdown,
        )
        return before, after

    def finish(self) -> None:
        """Say that this piece is applied and its outputs are delivered."""
        self.countdown.finish()

    def offsets(self) -> NDArray[np.int64]:
        """Offset of each message, int64[n]."""
        if self.next_offset - self.first_offset == len(self.messages):  # most have no gaps
            return np.arange(self.first_offset, self.next_offset, dtype=np.int64)
        return np.fromiter(self._each("offset"), np.int64, len(self.messages))

    def timestamps_ms(self) -> NDArray[np.int64]:
        """Kafka timestamp of each message, int64[n]."""
        stamps = map(_SECOND, self._each("timestamp"))
        return np.fromiter(stamps, np.int64, len(self.messages))

    def values(self) -> list[bytes | None]:
        """Value of each message; None is a tombstone."""
        return list(self._each("value"))

    def keys(self) -> list[bytes | None]:
        """Key of each message."""
        return list(self._each("key"))

    def _each(self, name: str) -> Iterator[Any]:
        """What a method says of each message; its class is asked, which takes a third less."""
        return (
            map(getattr(type(self.messages[0]), name), self.messages) if self.messages else iter(())
        )
