"""From the poll thread to the agents: what was fetched becomes envelopes, one queue per topic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from confluent_kafka import Message
from faust.types import TP

from sendtide.transport.assignments import Assignment, Assignments
from sendtide.transport.backpressure import InFlight
from sendtide.transport.chunk import Chunk
from sendtide.transport.message import Envelope, chunk_envelope, event_envelope
from sendtide.transport.record_batch import RecordBatch
from sendtide.transport.runs import OVERHEAD_BYTES, Records, Run, offsets_of, size_of

__all__ = ["Feeds", "Host"]

#: Messages delivered before the event loop gets a turn.
_TURN = 100


class Host(Protocol):
    """What `Feeds` needs of the consumer around it."""

    @property
    def generation(self) -> int:
        """The app's; streams skip messages of any other."""
        ...

    @property
    def stopping(self) -> bool:
        """True once the app stops."""
        ...

    def abandoned(self, chunk: Chunk) -> None:
        """Take note of an agent that was closed while it worked on a chunk."""
        ...


class Feeds:
    """Queues of envelopes by topic. They need no bound: `InFlight` bounds what comes in."""

    def __init__(
        self, host: Host, assignments: Assignments, in_flight: InFlight, chunk_messages: int
    ) -> None:
        self._host = host
        self._chunk_messages = chunk_messages
        self._assignments = assignments
        self._in_flight = in_flight
        self._queues: dict[str, asyncio.Queue[Envelope]] = {}
        self._changed = asyncio.Event()

    def receive(self, runs: list[Run]) -> None:
        """Take fetched messages; called in the event loop, once per fetch."""
        for partition, records, size in runs:
            assignment = self._assignments.get(partition)
            if assignment is None:
                continue  # taken away between the fetch and now
            repeated = assignment.repeated(offsets_of(records))
            fresh = records[repeated:]
            if repeated:
                self._uncount(assignment, size - size_of(fresh), repeated, len(fresh))
            if len(fresh):
                self._enqueue(assignment, fresh)

    async def run(self, deliver: Callable[[Envelope], Awaitable[None]]) -> None:
        """Deliver for ever, one task per topic: a slow agent holds up its own topic only."""
        feeding: dict[str, asyncio.Future[Any]] = {}
        changed: asyncio.Future[Any] | None = None
        try:
            while True:
                for topic, queue in self._queues.items():
                    if topic not in feeding:
                        feeding[topic] = asyncio.ensure_future(_feed(queue, deliver))
                self._changed.clear()
                changed = asyncio.ensure_future(self._changed.wait())
                waiting: set[asyncio.Future[Any]] = {changed, *feeding.values()}
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (*feeding.values(), *([changed] if changed else [])):
                task.cancel()

    def _uncount(self, assignment: Assignment, size: int, repeated: int, kept: int) -> None:
        """Take what was handed over before out of what is in flight."""
        pieces = repeated
        if self._in_flight.by_chunk(assignment.partition[0]):
            pieces = 0 if kept else 1
        self._in_flight.remove(assignment.partition, pieces, size)

    def _enqueue(self, assignment: Assignment, records: Records) -> None:
        topic = assignment.partition[0]
        queue = self._queues.get(topic)
        if queue is None:
            queue = self._queues[topic] = asyncio.Queue()
            self._changed.set()
        if isinstance(records, RecordBatch):
            if not self._grown(assignment, records):
                queue.put_nowait(self._chunk(assignment, records))
        else:
            for message in records:
                queue.put_nowait(self._event(assignment, message))

    def _grown(self, assignment: Assignment, batch: RecordBatch) -> bool:
        """Let the partition's newest chunk take the records, if no agent has looked into it."""
        newest = assignment.newest
        if newest is None or not newest.grow(batch, self._chunk_messages):
            return False
        assignment.ledger.extend(newest.first_offset, batch.next_offset, batch.nbytes)
        self._in_flight.remove(assignment.partition, 1, 0)
        return True

    def _chunk(self, assignment: Assignment, batch: RecordBatch) -> Envelope:
        partition = assignment.partition

        def finished(chunk: Chunk) -> None:
            if assignment.finish(chunk.first_offset):
                self._in_flight.remove(partition, 1, chunk.size)

        chunk = Chunk(*partition, batch, assignment.generation, finished)
        envelope = chunk_envelope(TP(*partition), chunk, self._host.generation)

        def passed(closed: bool) -> None:
            if closed:
                assignment.abandon(chunk.first_offset)
                self._host.abandoned(chunk)
            else:
                chunk.passed()
                assignment.changed.set()

        envelope.on_passed = passed
        assignment.begin(chunk.first_offset, batch.next_offset, batch.nbytes, envelope)
        assignment.newest = chunk
        return envelope

    def _event(self, assignment: Assignment, message: Message) -> Envelope:
        partition = assignment.partition
        envelope = event_envelope(TP(*partition), message, self._host.generation)
        offset, size = envelope.offset, len(message) + OVERHEAD_BYTES

        def passed(closed: bool) -> None:
            # Faust acknowledges an event whose agent raised, and ordinary topics keep its rule;
            # one that was cut short because the app stops has not been processed.
            if closed and self._host.stopping:
                assignment.abandon(offset)
                return
            if assignment.finish(offset):
                self._in_flight.remove(partition, 1, size)

        envelope.on_passed = passed
        assignment.begin(offset, offset + 1, size, envelope)
        return envelope


async def _feed(
    queue: asyncio.Queue[Envelope], deliver: Callable[[Envelope], Awaitable[None]]
) -> None:
    turn = 0
    while True:
        await deliver(await queue.get())
        turn += 1
        if turn % _TURN == 0:
            await asyncio.sleep(0)
