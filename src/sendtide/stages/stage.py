"""What both stages have in common: partitions come, recover, work, are written down, and go.

For each partition held there is a state, a `PartitionRuntime` that applies chunks to it, and the
deliveries still under way. The order that makes a crash harmless::

    apply a chunk -> its outputs are delivered -> it is acknowledged -> the group's offset moves
    all before a cut is delivered and visible in Redis -> the snapshot of that cut is written

With transactions the first line is one step: outputs and offset are there together or not at all.
A partition's snapshot is the truth about its position; the group's offset only says up to where
outputs are delivered, so that a replay knows when to speak again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from numpy.typing import NDArray

from sendtide.events.errors import Unavailable
from sendtide.sinks import Owner, Sink
from sendtide.stages.offsets import OffsetLookup
from sendtide.stages.piece import Piece
from sendtide.stages.positions import Positions
from sendtide.stages.runtime import PartitionRuntime
from sendtide.state import Manifest, SnapshotStore
from sendtide.transport import Delivery, Record, Tenure, TopicPartition, WithdrawnError

__all__ = ["Columns", "Held", "Outputs", "Send", "Stage", "Transact"]

logger = logging.getLogger(__name__)

State = TypeVar("State")
Columns = dict[str, NDArray[Any]]
Outputs = dict[str, list[Record]]
"""Records to send by full topic name, each list in order."""
Send = Callable[[str, Sequence[Record]], Awaitable[Delivery]]
Transact = Callable[[Outputs, Tenure, Mapping[TopicPartition, int]], Awaitable[None]]
"""Stores outputs and the offsets they came from, all or nothing."""

_DELIVERIES: Final = 64
"""Chunks whose outputs may be under way at once, over all partitions of a stage."""


@dataclass(slots=True)
class Held(Generic[State]):
    """One partition at work.

    counts: topic to bucket to number, since the beginning of the log. reached_ms: Kafka timestamp
    of the newest record applied, by topic. written_at: when its last snapshot was written or read.
    undelivered: some outputs never went out, so that no snapshot may be cut past them.
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


class Stage(ABC, Generic[State]):
    """One stage in one worker.

    Args:
        group: name of the stage, part of snapshot paths and of the fence in Redis.
        topics: full names of the stage's topics; partition n of all of them is one unit.
        send: queues records of one topic; its delivery is awaited before a chunk is acknowledged.
        transact: instead of `send` on brokers that have transactions.
        on_failure: called once with what ends this worker.
    """

    def __init__(
        self,
        group: str,
        topics: Sequence[str],
        *,
        send: Send,
        sink: Sink,
        snapshots: SnapshotStore,
        offsets: OffsetLookup,
        on_failure: Callable[[BaseException], None],
        transact: Transact | None = None,
    ) -> None:
        self.group = group
        self.topics = tuple(topics)
        self.held: dict[int, Held[State]] = {}
        self._send = send
        self._transact = transact
        self._on_failure = on_failure
        self._failed = False
        self._sink = sink
        self._sink_lock = asyncio.Lock()
        self._snapshots = snapshots
        self._offsets = offsets
        self._room = asyncio.Semaphore(_DELIVERIES)

    # -- what each stage adds -------------------------------------------------------------------

    @abstractmethod
    def new_state(self, number: int) -> State:
        """State of a partition nothing is known of."""

    @abstractmethod
    def restored(self, number: int, meta: Mapping[str, Any], columns: Columns) -> State:
        """State out of a snapshot."""

    @abstractmethod
    def written_down(self, held: Held[State]) -> tuple[dict[str, Any], Columns]:
        """What a snapshot holds; arrays are copies."""

    @abstractmethod
    def apply(self, held: Held[State], piece: Piece, emit: bool) -> Outputs:
        """Change the state by one piece; return what is to be sent."""

    @abstractmethod
    async def publish(self, held: Held[State]) -> None:
        """Make what changed visible; may raise `Unavailable`, then it is asked again later."""

    # -- a partition's life ---------------------------------------------------------------------

    async def assigned(self, number: int) -> dict[str, int]:
        """Recover a partition; return the offset to fetch from by topic."""
        manifest, state, counts = await asyncio.to_thread(self._recover, number)
        units = [(topic, number) for topic in self.topics]
        committed = await asyncio.to_thread(self._offsets.committed, units)
        log = await asyncio.to_thread(self._offsets.log, units)
        positions = Positions.recovered(manifest.offsets if manifest else {}, committed, log)
        # Seconds since 1970 rise across workers whose snapshot stores do not meet.
        epoch = max(int(time.time()), manifest.epoch + 1 if manifest else 0)
        held = self.held[number] = self._hold(number, epoch, state, positions, counts)
        held.snapshot_at = dict(positions.applied) if manifest else {}
        logger.info(
            "%s/%d starts at %s, %d offsets to replay",
            self.group,
            number,
            positions.applied,
            positions.remaining(),
        )
        self._note_missed(held)
        return dict(positions.applied)

    def _note_missed(self, held: Held[State]) -> None:
        """Say loudly what the broker deleted before it was read: no replay brings it back."""
        for topic, missed in held.runtime.positions.missed.items():
            held.count(topic, "missed", missed)
            logger.error(
                "%s/%d: %d offsets were deleted by the broker before they were read; give the "
                "topic a retention longer than the longest outage, and restore them from elsewhere",
                topic,
                held.number,
                missed,
            )

    def _recover(self, number: int) -> tuple[Manifest | None, State, dict[str, dict[str, int]]]:
        found = self._snapshots.newest(number)
        if found is None:
            return None, self.new_state(number), {}
        manifest, meta, columns = found
        return manifest, self.restored(number, meta, columns), dict(meta["counts"])

    def _hold(
        self,
        number: int,
        epoch: int,
        state: State,
        positions: Positions,
        counts: dict[str, dict[str, int]],
    ) -> Held[State]:
        runtime: PartitionRuntime[Piece, Outputs] = PartitionRuntime(
            positions, lambda piece, emit: self.apply(self.held[number], piece, emit)
        )
        emitted = {(topic, number): offset for topic, offset in positions.emitted.items()}
        return Held(number, epoch, state, runtime, Tenure(emitted), counts)

    async def revoked(self, number: int) -> None:
        """Deliver, publish and write down a partition, then let it go."""
        held = self.held.get(number)
        if held is None:
            return
        try:
            await self.write_down(held)
        except Unavailable as error:
            logger.warning("%s/%d leaves without a snapshot: %s", self.group, number, error)
        finally:
            self.lost(number)

    def lost(self, number: int) -> None:
        """Forget a partition another worker may already hold; what is under way is withdrawn."""
        held = self.held.pop(number, None)
        if held is not None:
            held.tenure.over = True

    # -- its work -------------------------------------------------------------------------------

    async def consume(self, stream: Any) -> None:
        """Body of the stage's agents: one chunk per event, in order per topic partition."""
        async for chunk in stream:
            try:
                await self.take(Piece.whole(chunk))
            except Exception as error:
                # Nothing may reach Faust: it would acknowledge the chunk and go on.
                self.fail(error)
                raise

    async def take(self, piece: Piece) -> None:
        """Apply a chunk and send what it makes; acknowledged when that is delivered."""
        held = self.held.get(piece.partition)
        if held is None:
            piece.finish()
            return
        held.reached_ms[piece.topic] = piece.messages[-1].timestamp()[1]
        for applied in held.runtime.feed(piece):
            if applied.output is None:  # replayed: delivered and committed long ago
                applied.chunk.finish()
            else:
                await self.emit(held, applied.output, applied.chunk)

    async def emit(self, held: Held[State], outputs: Outputs, piece: Piece | None = None) -> None:
        """Send in the background what a piece makes, then acknowledge it; waits only for room."""
        await self._room.acquire()
        task = asyncio.create_task(self._deliver(held, outputs, piece))
        held.deliveries.add(task)
        task.add_done_callback(held.deliveries.discard)

    async def _deliver(self, held: Held[State], outputs: Outputs, piece: Piece | None) -> None:
        try:
            if self._transact is not None:
                reached = {(piece.topic, piece.partition): piece.next_offset} if piece else {}
                await self._transact(outputs, held.tenure, reached)
            else:
                sent = [await self._send(t, records) for t, records in outputs.items()]
                for delivery in sent:
                    await delivery.delivered()
            if piece is not None:
                piece.finish()
        except WithdrawnError as error:
            held.undelivered = True
            logger.warning("%s/%d: %s", self.group, held.number, error)
        except Exception as error:  # noqa: BLE001 - ends this worker
            held.undelivered = True
            self.fail(error)
        finally:
            self._room.release()

    def fail(self, error: BaseException) -> None:
        """Stop the worker because of this error; what is not acknowledged is done again."""
        if not self._failed:
            self._failed = True
            logger.error("%s stops: %s", self.group, error, exc_info=error)
            self._on_failure(error)

    # -- what others see of it --------------------------------------------------------------------

    def owner(self, held: Held[State]) -> Owner:
        """Who writes for this partition."""
        return Owner(self.group, held.number, held.epoch)

    async def write(self, call: Any, *arguments: Any) -> None:
        """Run one of the sink's blocking writes in a thread, one at a time."""
        async with self._sink_lock:
            await asyncio.to_thread(call, *arguments)

    async def publish_all(self) -> None:
        """Publish every partition held; a server that does not answer is tried again next time."""
        for held in tuple(self.held.values()):
            try:
                await self.publish(held)
            except Unavailable as error:
                logger.warning("%s/%d is not published yet: %s", self.group, held.number, error)

    async def write_down_all(self) -> None:
        """Write a snapshot of every partition that moved since its last."""
        for held in tuple(self.held.values()):
            try:
                await self.write_down(held)
            except Unavailable as error:
                logger.warning("%s/%d has no new snapshot: %s", self.group, held.number, error)

    async def write_down(self, held: Held[State]) -> None:
        """Write a snapshot once all that came before it is delivered and visible.

        Raises:
            Unavailable: Redis or the snapshot store does not answer; the older snapshot stays.
        """
        positions = held.runtime.positions
        if positions.applied == held.snapshot_at:
            return
        offsets = dict(positions.applied)
        meta, columns = self.written_down(held)
        meta["counts"] = {topic: dict(table) for topic, table in held.counts.items()}
        await held.delivered()
        await self.publish(held)
        await held.delivered()  # of models, which go out with what is published
        await asyncio.to_thread(
            self._snapshots.write, held.number, held.epoch, offsets, meta, columns
        )
        held.snapshot_at, held.written_at = offsets, time.monotonic()
