"""One partition at work: its state, where it stands, and what of it is still under way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from sendtide.events.errors import Unavailable
from sendtide.stages.handover import Handover
from sendtide.stages.piece import Piece
from sendtide.stages.runtime import PartitionRuntime
from sendtide.transport import Outputs, Tenure

__all__ = ["Columns", "Held", "State"]

State = TypeVar("State")
Columns = dict[str, NDArray[Any]]
"""Of a snapshot, by name."""


@dataclass(slots=True)
class Held(Generic[State]):
    """One partition at work.

    epoch: of this ownership; raised once more when it is `claimed` of the sink, at the first write.
    mark: what the sink had been given when the restored snapshot was written. forgotten: the sink
    has lost some of that. counts: topic to bucket to number, since the beginning of the log.
    reached_ms: Kafka timestamp of the newest record applied, by topic. written_at: when its last
    snapshot was written or read. undelivered: some outputs never went out, so that no snapshot may
    be cut past them. identities: of the topics that the offsets are of.
    """

    number: int
    epoch: int
    state: State
    runtime: PartitionRuntime[Piece, Outputs]
    tenure: Tenure
    counts: dict[str, dict[str, int]]
    deliveries: set[asyncio.Task[None]] = field(default_factory=set)
    snapshot_at: dict[str, int] = field(default_factory=dict)
    published: dict[str, dict[str, int]] = field(default_factory=dict)
    reached_ms: dict[str, int] = field(default_factory=dict)
    written_at: float = field(default_factory=time.monotonic)
    undelivered: bool = False
    identities: dict[str, str] = field(default_factory=dict)
    mark: int = 0
    claimed: bool = False
    forgotten: bool = False
    assigned_at: float = 0.0
    handover: Handover = field(default_factory=Handover)
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)
    writing_down: asyncio.Lock = field(default_factory=asyncio.Lock)

    def count(self, topic: str, bucket: str, number: int) -> None:
        """Add to one of the counts."""
        table = self.counts.setdefault(topic, {})
        table[bucket] = table.get(bucket, 0) + number

    def counts_now(self) -> dict[str, dict[str, int]]:
        """A copy of the counts, to compare with what readers were told last."""
        return {topic: dict(table) for topic, table in self.counts.items()}

    async def delivered(self) -> None:
        """Wait for the outputs of all chunks applied so far.

        Raises:
            Unavailable: some are not, and will not be by this worker.
        """
        if self.deliveries:
            await asyncio.wait(tuple(self.deliveries))
        if self.undelivered:
            msg = f"outputs of partition {self.number} are not delivered; its next owner sends them"
            raise Unavailable(msg)
