"""A transport chunk, or part of one; the chunk is acknowledged when all its parts are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sendtide.transport import RecordBatch

__all__ = ["Piece"]


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
    """Consecutive records of one topic partition; `finish()` must be called once."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    records: RecordBatch
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
            chunk.records,
            _Countdown(chunk.ack),
        )

    def split(self, offset: int) -> tuple[Self, Self]:
        """Cut into the records before `offset` and those from it on."""
        cut = int(np.searchsorted(self.records.offsets, offset))
        self.countdown.parts += 1
        before = type(self)(
            self.topic,
            self.partition,
            self.first_offset,
            offset,
            self.records[:cut],
            self.countdown,
        )
        after = type(self)(
            self.topic,
            self.partition,
            offset,
            self.next_offset,
            self.records[cut:],
            self.countdown,
        )
        return before, after

    def finish(self) -> None:
        """Say that this piece is applied and its outputs are delivered."""
        self.countdown.finish()
