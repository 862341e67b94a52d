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
from functools import partial
from typing import Any, Final, Generic, TypeVar

from sendtide.events.errors import Fenced, Unavailable
from sendtide.sinks import Owner, Sink
from sendtide.stages.handover import Handover
from sendtide.stages.held import Columns, Held, State
from sendtide.stages.offsets import OffsetLookup
from sendtide.stages.piece import Piece
from sendtide.stages.positions import Positions
from sendtide.stages.recovery import recovered
from sendtide.stages.runtime import PartitionRuntime
from sendtide.state import SnapshotStore
from sendtide.transport import (
    Outputs,
    Tenure,
    TopicPartition,
    WithdrawnError,
    compare_identities,
)

__all__ = ["Deliver", "Stage"]

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Deliver = Callable[[Outputs, Tenure, Mapping[TopicPartition, int]], Awaitable[None]]
"""Stores outputs; where the broker has transactions, the offsets they came from with them."""

_DELIVERIES: Final = 128
"""Chunks whose outputs may be under way at once, over all partitions of a stage."""
_RESTORED_AT_ONCE: Final = 2
"""Partitions of a stage: each has its snapshot in memory beside its state meanwhile."""


class Stage(ABC, Generic[State]):
    """One stage in one worker.

    Args:
        group: name of the stage, part of snapshot paths and of the fence in Redis.
        topics: full names of the stage's topics; partition n of all of them is one unit.
        deliver: stores outputs; a chunk is acknowledged when that is done.
        on_failure: called once with what ends this worker.
        session_timeout_s: of the consumer group: sooner nobody else is given a partition.
        exactly_once: outputs and offsets are stored together, so that no snapshot can be ahead of
            the group, unless the broker has lost some of both.
    """

    def __init__(
        self,
        group: str,
        topics: Sequence[str],
        *,
        deliver: Deliver,
        sink: Sink,
        snapshots: SnapshotStore,
        offsets: OffsetLookup,
        on_failure: Callable[[BaseException], None],
        session_timeout_s: float = 10.0,
        exactly_once: bool = False,
    ) -> None:
        self.group = group
        self.topics = tuple(topics)
        self.held: dict[int, Held[State]] = {}
        self._deliver = deliver
        self._on_failure = on_failure
        self._failed = False
        self._sink = sink
        self._sink_lock = asyncio.Lock()
        self._snapshots = snapshots
        self._offsets = offsets
        self._room = asyncio.Semaphore(_DELIVERIES)
        self._restoring = asyncio.Semaphore(_RESTORED_AT_ONCE)
        self._session_timeout_s = session_timeout_s
        self._exactly_once = exactly_once

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
    async def publish(self, held: Held[State], complete: bool) -> None:
        """Write what changed to the sink; what could not be written counts as changed again.

        complete: all of it, also what may wait for the next time because it costs much.
        """

    @abstractmethod
    def mark_all_changed(self, held: Held[State]) -> None:
        """Let the next `publish` write everything: the sink has lost some of it."""

    # -- a partition's life ---------------------------------------------------------------------

    async def assigned(self, number: int) -> dict[str, int]:
        """Recover a partition; return the offset to fetch from by topic."""
        began, handover = time.monotonic(), Handover()
        units = [(topic, number) for topic in self.topics]
        committed = await asyncio.to_thread(self._offsets.committed, units)
        async with self._restoring:
            bound = committed if self._exactly_once else None
            found = await asyncio.to_thread(
                recovered, self.group, number, self._snapshots, self.restored, bound
            )
        manifest, state, meta = found or (None, self.new_state(number), {})
        identities = await asyncio.to_thread(self._offsets.identities, self.topics)
        compare_identities(meta.get("topics", {}), identities)
        log = await asyncio.to_thread(self._offsets.log, units)
        positions = Positions.recovered(manifest.offsets if manifest else {}, committed, log)
        # Rises with the clock where Redis has lost the fence, with the snapshots where the clock
        # lags, and past the fence, in one atomic step, when it is claimed.
        epoch = max(int(time.time()), manifest.epoch + 1 if manifest else 0)
        held = self.held[number] = self._hold(number, epoch, state, positions, meta)
        held.snapshot_at, held.identities = dict(positions.applied) if manifest else {}, identities
        held.assigned_at, held.handover = began, handover
        logger.info(
            "%s/%d starts at %s, %d offsets to replay",
            self.group,
            number,
            positions.applied,
            positions.remaining(),
        )
        self._note_missed(held)
        behind = any(committed.get(topic, 0) < at for topic, at in positions.applied.items())
        if behind:
            # With transactions this moves the group up: no record may come for a while.
            await self.emit(held, {})
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

    def _hold(
        self,
        number: int,
        epoch: int,
        state: State,
        positions: Positions,
        meta: Mapping[str, Any],
    ) -> Held[State]:
        runtime: PartitionRuntime[Piece, Outputs] = PartitionRuntime(
            positions, lambda piece, emit: self.apply(self.held[number], piece, emit)
        )
        emitted = {(topic, number): offset for topic, offset in positions.emitted.items()}
        counts, mark = dict(meta.get("counts", {})), int(meta.get("mark", 0))
        return Held(number, epoch, state, runtime, Tenure(emitted), counts, mark=mark)

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
        held.reached_ms[piece.topic] = int(piece.records.timestamps_ms[-1])
        for applied in held.runtime.feed(piece):
            if applied.output is None:  # replayed: delivered and committed long ago
                applied.chunk.finish()
            else:
                held.handover.work_begins(applied.chunk)
                await self.emit(held, applied.output, applied.chunk)

    async def emit(self, held: Held[State], outputs: Outputs, piece: Piece | None = None) -> None:
        """Send in the background what a piece makes, then acknowledge it; waits only for room."""
        await self._room.acquire()
        task = asyncio.create_task(self._store_and_acknowledge(held, outputs, piece))
        held.deliveries.add(task)
        task.add_done_callback(held.deliveries.discard)

    async def _store_and_acknowledge(
        self, held: Held[State], outputs: Outputs, piece: Piece | None
    ) -> None:
        try:
            reached = {(piece.topic, piece.partition): piece.next_offset} if piece else {}
            await self._deliver(outputs, held.tenure, reached)
            if piece is not None:
                piece.finish()
        except WithdrawnError as error:
            held.undelivered = True
            logger.warning("%s/%d: %s", self.group, held.number, error)
        except Exception as error:
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

    async def write(self, call: Callable[..., Answer], *arguments: Any) -> Answer:
        """Run one of the sink's blocking calls in a thread, one at a time."""
        async with self._sink_lock:
            return await asyncio.to_thread(call, *arguments)

    async def publish_all(self) -> None:
        """Publish every partition held; a server that does not answer is tried again next time."""
        await self._look_for_losses(tuple(self.held.values()))
        for held in tuple(self.held.values()):
            try:
                await self.make_visible(held, complete=False)
            except Unavailable as error:
                logger.warning("%s/%d is not published yet: %s", self.group, held.number, error)

    async def make_visible(self, held: Held[State], *, complete: bool = True) -> None:
        """Publish a partition, all of it if the sink has lost some; never beside another attempt.

        Whoever returns from here finds visible all that had been applied before (what may wait
        only if it is to be `complete`): had another attempt taken what changed and not yet written
        it, this one would have waited for it.

        Raises:
            Unavailable: the sink does not answer; it is tried again with the next attempt.
            Fenced: another worker has the partition, and the group has not said so yet.
        """
        async with held.publishing:
            try:
                if not held.claimed:
                    await self._claim(held)
                anew, held.forgotten = held.forgotten, False
                try:
                    if anew:
                        self.mark_all_changed(held)
                    await self.publish(held, complete or anew)
                    if anew and not held.forgotten:
                        await self.write(self._sink.repaired, self.owner(held))
                except BaseException:
                    held.forgotten = held.forgotten or anew
                    raise
            except Fenced as error:
                if not held.tenure.over:
                    raise
                logger.info("%s/%d was taken away: %s", self.group, held.number, error)

    async def _claim(self, held: Held[State]) -> None:
        """Take the partition over from whoever had it.

        Nobody else can have it within the session after the assignment; later than that this may
        be a worker that was paused, and must not take it from the next.
        """
        late = time.monotonic() - held.assigned_at > self._session_timeout_s / 2
        claim = partial(self._sink.claim, self.owner(held), held.mark, late=late)
        held.epoch, held.claimed = await self.write(claim), True
        held.handover.left_ms = self._sink.left_ms(self.owner(held)) or 0
        if (waited_s := held.handover.unattended_s) is not None:
            logger.info("%s/%d: records waited %.1f s", self.group, held.number, waited_s)
        await self._look_for_losses([held])

    async def _look_for_losses(self, partitions: Sequence[Held[State]]) -> None:
        """Ask the sink whether it still has what it was given."""
        owners = {self.owner(held): held for held in partitions if held.claimed}
        try:
            forgotten = await self.write(self._sink.forgot, list(owners))
        except Fenced:
            if not any(held.tenure.over for held in owners.values()):
                raise
            return  # taken away while it was asked
        for owner in forgotten:
            owners[owner].forgotten = True
            logger.warning(
                "%s/%d: Redis has lost what was written (emptied, or rolled back by a failover); "
                "everything of this partition is written again",
                self.group,
                owner.partition,
            )

    async def write_down_all(self, every_s: float = 0.0) -> None:
        """Write a snapshot of every partition that moved since its last, `every_s` ago or more.

        One that was just taken over catches up first: its snapshot was read a moment ago.
        """
        for held in tuple(self.held.values()):
            if time.monotonic() - held.written_at < every_s:
                continue
            try:
                await self.write_down(held)
            except Unavailable as error:
                logger.warning("%s/%d has no new snapshot: %s", self.group, held.number, error)

    async def write_down(self, held: Held[State]) -> None:
        """Write a snapshot once all that came before it is delivered and visible.

        Raises:
            Unavailable: Redis or the snapshot store does not answer; the older snapshot stays.
        """
        async with held.writing_down:
            positions = held.runtime.positions
            if positions.applied == held.snapshot_at:
                return
            offsets = dict(positions.applied)
            meta, columns = self.written_down(held)
            meta |= {"counts": held.counts_now(), "topics": held.identities}
            await held.delivered()
            await self._look_for_losses([held])
            await self.make_visible(held)
            await held.delivered()  # of models, which go out with what is published
            if held.tenure.over:
                return
            meta["mark"] = self._sink.mark(self.owner(held))
            await asyncio.to_thread(
                self._snapshots.write, held.number, held.epoch, offsets, meta, columns
            )
            held.snapshot_at, held.written_at = offsets, time.monotonic()
