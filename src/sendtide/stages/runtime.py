"""One partition at work: restore, replay without emitting, then live; in order, never skipping.

A `PartitionRuntime` owns one partition's state (stage A's or stage B's) and applies chunks of its
topics to it. It is synchronous and knows no Faust: the agents hand it chunks and send what comes
out. Chunks at or past a topic's `emitted` offset wait until every topic of the partition has been
replayed (see `positions`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

from sendtide.stages.positions import Positions

__all__ = ["Applied", "ChunkLike", "PartitionRuntime"]


class ChunkLike(Protocol):
    """What the runtime needs of `Piece`."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int

    def split(self, offset: int) -> tuple[Self, Self]:
        """Cut into the records before `offset` and those from it on."""
        ...

    def finish(self) -> None:
        """Say that nothing more is to be done for this piece."""
        ...


Piece = TypeVar("Piece", bound=ChunkLike)
Output = TypeVar("Output")


@dataclass(slots=True)
class Applied(Generic[Piece, Output]):
    """A chunk that is now part of the state, and what it made; None while replaying."""

    chunk: Piece
    output: Output | None


class PartitionRuntime(Generic[Piece, Output]):
    """Applies chunks of one partition in the order each topic delivers them.

    Args:
        positions: where the restored state and the delivered outputs stand.
        apply: `apply(chunk, emit)` changes the state and returns what is to be sent; with
            `emit=False` the state changes in the same way and the result is ignored.
    """

    def __init__(self, positions: Positions, apply: Callable[[Piece, bool], Output]) -> None:
        self.positions = positions
        self._apply = apply
        self._waiting: deque[Piece] = deque()

    @property
    def waiting(self) -> int:
        """Chunks held back until the replay is over."""
        return len(self._waiting)

    def feed(self, chunk: Piece) -> Iterator[Applied[Piece, Output]]:
        """Take the next chunk of a topic; yield each chunk applied because of it, in order."""
        for piece in self._pieces(chunk):
            if self._is_live(piece) and self.positions.replaying:
                self._waiting.append(piece)
            else:
                yield self._take(piece)
        if not self.positions.replaying:
            while self._waiting:
                yield self._take(self._waiting.popleft())

    def _pieces(self, chunk: Piece) -> Iterator[Piece]:
        """Drop what the state already holds; part what is replayed from what is live."""
        applied = self.positions.applied[chunk.topic]
        emitted = self.positions.emitted[chunk.topic]
        if chunk.next_offset <= applied:
            chunk.finish()
            return
        if chunk.first_offset < applied:
            repeated, chunk = chunk.split(applied)
            repeated.finish()
        if chunk.first_offset < emitted < chunk.next_offset:
            replayed, chunk = chunk.split(emitted)
            yield replayed
        yield chunk

    def _is_live(self, chunk: Piece) -> bool:
        return chunk.first_offset >= self.positions.emitted[chunk.topic]

    def _take(self, chunk: Piece) -> Applied[Piece, Output]:
        live = self._is_live(chunk)
        output = self._apply(chunk, live)
        self.positions.advance(chunk.topic, chunk.next_offset)
        return Applied(chunk, output if live else None)
