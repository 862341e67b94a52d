"""The life of a unit: partitions that come, start, run and leave together.

::

    given ──► STARTING ──► RUNNING ──► RELEASING ──► gone       (commit between the last two)
                 │ taken away             ▲ revoked, or the app stops
                 └──► gone     RUNNING ───┴─ lost ──► gone      (no commit)

A unit is one partition number of a copartition group and its companions. Units live side by side:
one that recovers holds up no other. Everything here runs in the event loop; the poll thread reports
through `LoopListener` and waits only while partitions are revoked.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from confluent_kafka import KafkaException
from numpy.typing import NDArray

from sendtide.transport.chunk import Chunk
from sendtide.transport.commits import PartitionLedger
from sendtide.transport.message import STALE, Envelope
from sendtide.transport.owner import PartitionOwner
from sendtide.transport.rebalance import CopartitionGroups, TopicPartition
from sendtide.transport.runs import Run

__all__ = ["Assignment", "Assignments", "Host", "LoopListener"]

_log = logging.getLogger(__name__)

#: Between attempts of a question the coordinator could not answer yet.
_RETRY_S = 0.5

#: To commit what leaves.
_ATTEMPTS = 3

Unit = frozenset[TopicPartition]


class Host(Protocol):
    """What `Assignments` needs of the consumer around it."""

    async def committed(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int | None]:
        """Return the group's offsets."""
        ...

    async def begin(self, starts: Mapping[TopicPartition, int | None]) -> None:
        """Start fetching."""
        ...

    async def commit_partitions(self, partitions: Iterable[TopicPartition]) -> bool:
        """Commit what is finished; True if the group now has it."""
        ...

    async def announce(self) -> None:
        """Tell Faust the whole set of partitions."""
        ...

    async def crash(self, reason: BaseException) -> None:
        """Stop the app loudly."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> Any:
        """Run beside everything else; its failure stops the app."""
        ...


@dataclass(eq=False)
class Assignment:
    """One partition from its start to its end; the ledger and the envelopes in flight.

    newest: the chunk handed over last; it may grow until an agent looks into it.
    """

    partition: TopicPartition
    generation: int
    ledger: PartitionLedger
    start: int | None
    envelopes: dict[int, Envelope] = field(default_factory=dict)
    newest: Chunk | None = None
    closed: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def position(self) -> int | None:
        """Offset of the next message to hand over; None if the client was to choose the first."""
        reached = self.ledger.registered_to
        return self.start if reached is None else reached

    def repeated(self, offsets: NDArray[np.int64]) -> int:
        """How many of these, which rise, were handed over before; says if the start was passed."""
        reached = self.ledger.registered_to
        if reached is None:
            self._compare_start(int(offsets[0]))
            return 0
        return int(np.searchsorted(offsets, reached))

    def _compare_start(self, first: int) -> None:
        if self.start is None or first == self.start:
            return
        level = logging.INFO
        if first > self.start:
            what = "between are ends of transactions, or records deleted or compacted"
        else:
            level = logging.WARNING
            what = "the log is shorter than the group remembers; its offset is forgotten"
            self.ledger = PartitionLedger(None)
        place = *self.partition, self.start, first
        _log.log(level, "%s/%d: asked for offset %d, got %d: %s", *place, what)

    def begin(self, first: int, next_offset: int, size: int, envelope: Envelope) -> None:
        """Note work handed over, with the envelope it went in."""
        self.ledger.register(first, next_offset, size)
        self.envelopes[first] = envelope

    def withdraw(self) -> None:
        """Keep messages no agent has begun from being begun."""
        self.newest = None
        for first, envelope in list(self.envelopes.items()):
            if not envelope.tracked:
                envelope.generation_id = STALE
                del self.envelopes[first]

    def finish(self, first: int) -> bool:
        """Note finished work; False if it no longer counts."""
        done = not self.closed and self.ledger.finish(first)
        self.envelopes.pop(first, None)
        self.changed.set()
        return done

    def abandon(self, first: int) -> None:
        """Note work that will never be finished; its offset stays uncommitted."""
        self.envelopes.pop(first, None)
        self.changed.set()

    async def settled(self, *, held_too: bool) -> None:
        """Wait until agents have passed what they had begun."""
        while any(held_too or not _is_held(e) for e in self.envelopes.values()):
            self.changed.clear()
            await self.changed.wait()


def _is_held(envelope: Envelope) -> bool:
    return envelope.acked


class Assignments:
    """All units of this member."""

    def __init__(
        self,
        host: Host,
        groups: CopartitionGroups,
        owner: PartitionOwner | None,
        release_timeout_s: float,
    ) -> None:
        self._host = host
        self._groups = groups
        self._owner = owner
        self._release_timeout_s = release_timeout_s
        self._running: dict[TopicPartition, Assignment] = {}
        self._units: dict[TopicPartition, Unit] = {}
        self._starting: dict[TopicPartition, asyncio.Task[None]] = {}
        self._recovered: set[Unit] = set()
        self._turn = asyncio.Lock()
        self._generation = 0
        self._stopping = False

    def get(self, partition: TopicPartition) -> Assignment | None:
        """The running assignment of a partition."""
        return self._running.get(partition)

    def running(self) -> list[TopicPartition]:
        """Partitions being fetched."""
        return list(self._running)

    def idle(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where those of `partitions` stand that have all work done that was handed over."""
        chosen = {p: a for p in partitions if (a := self._running.get(p)) is not None}
        return {
            partition: position
            for partition, assignment in chosen.items()
            if not assignment.ledger.unfinished and (position := assignment.position) is not None
        }

    def held(self) -> set[TopicPartition]:
        """Partitions given to this member, those that still start included."""
        return {partition for unit in self._units.values() for partition in unit}

    def withdraw(self) -> None:
        """Keep everything that no agent has begun from being begun; the app is failing."""
        self._stopping = True
        for assignment in self._running.values():
            assignment.withdraw()

    def given(self, leaders: set[TopicPartition]) -> None:
        """Start the units the group has given."""
        if self._stopping:
            return
        units = self._groups.units(leaders)
        self._units.update(units)
        self._generation += 1
        self._host.spawn(self._start_all(units, self._generation))

    async def revoke(self, leaders: Iterable[TopicPartition]) -> None:
        """Finish, commit and let go, side by side and within the budget."""
        known = [leader for leader in leaders if leader in self._units]
        await asyncio.gather(*(self._release(leader) for leader in known))
        if not self._stopping and known:
            self._host.spawn(self._host.announce())

    def lost(self, leaders: Iterable[TopicPartition]) -> None:
        """Let go at once.

        A busy loop may hear of a loss and of what the group gave anew in one turn: which units are
        gone is settled here, in the order of the reports, and they are gone before any starts.
        """
        units = {leader: self._units.pop(leader) for leader in leaders if leader in self._units}
        _log.warning("the group has gone on without this member: %s are lost", sorted(units))
        self._host.spawn(self._lose(units))

    async def _lose(self, units: Mapping[TopicPartition, Unit]) -> None:
        async with self._turn:
            for leader, unit in units.items():
                await self._cancel_start(leader)
                recovered = unit in self._recovered
                self._close(unit)
                if recovered and self._owner is not None:
                    await self._owner.lost(unit)
        if not self._stopping:
            await self._host.announce()

    async def release_all(self) -> None:
        """The app stops: hand back everything; units given later are not started."""
        self._stopping = True
        await self.revoke(list(self._units))

    async def _start_all(self, units: Mapping[TopicPartition, Unit], generation: int) -> None:
        await self._host.announce()  # Faust must know the partitions before messages come
        async with self._turn:
            for leader, unit in units.items():
                if leader in self._units and leader not in self._starting:
                    task = asyncio.ensure_future(self._start(unit, generation))
                    self._starting[leader] = task
                    task.add_done_callback(partial(self._started, leader))

    def _started(self, leader: TopicPartition, task: asyncio.Task[None]) -> None:
        if self._starting.get(leader) is task:
            del self._starting[leader]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._host.spawn(self._host.crash(error))

    async def _start(self, unit: Unit, generation: int) -> None:
        committed = await self._committed(unit)
        wanted: Mapping[TopicPartition, int | None] = {}
        if self._owner is not None:
            wanted = await self._owner.assigned(unit)
        self._recovered.add(unit)
        starts: dict[TopicPartition, int | None] = {}
        for partition in unit:
            chosen = wanted.get(partition)
            start = committed[partition] if chosen is None else chosen
            starts[partition] = start
            # A group that stands behind is moved up at once: no record may come for a while.
            ledger = PartitionLedger(committed[partition], chosen or None)
            self._running[partition] = Assignment(partition, generation, ledger, start)
        await self._host.begin(starts)

    async def _committed(self, unit: Unit) -> Mapping[TopicPartition, int | None]:
        while True:
            try:
                return await self._host.committed(unit)
            except KafkaException as error:
                if error.args[0].fatal():
                    raise
                _log.warning("committed offsets of %s: %s", sorted(unit), error.args[0].str())
                await asyncio.sleep(_RETRY_S)

    async def _cancel_start(self, leader: TopicPartition) -> None:
        task = self._starting.pop(leader, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _release(self, leader: TopicPartition) -> None:
        """Let a unit go, whatever becomes of the attempt to finish and commit it."""
        unit = self._units.pop(leader)
        try:
            await self._cancel_start(leader)
            leaving = [a for p in unit if (a := self._running.get(p)) is not None]
            for assignment in leaving:
                assignment.withdraw()
            if unit in self._recovered:
                await self._give_back(unit, leaving)
        finally:
            self._close(unit)

    async def _give_back(self, unit: Unit, leaving: list[Assignment]) -> None:
        try:
            async with asyncio.timeout(self._release_timeout_s):
                await self._finish(unit, leaving)
                await self._commit(unit)
        except TimeoutError:
            _log.warning(
                "%s: not finished within %s s; what is not committed will be repeated",
                sorted(unit),
                self._release_timeout_s,
            )
        except Exception as error:
            _log.exception("releasing %s failed; it is not committed", sorted(unit))
            await self._host.crash(error)

    async def _finish(self, unit: Unit, leaving: list[Assignment]) -> None:
        """Let agents pass what they began, at most half the budget, then the owner finish it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._release_timeout_s / 2):
                await asyncio.gather(*(a.settled(held_too=False) for a in leaving))
        if self._owner is not None:
            await self._owner.revoked(unit)
            return
        # Nobody to ask: those that hold chunks acknowledge them by and by. Keep time to commit.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._release_timeout_s / 4):
                await asyncio.gather(*(a.settled(held_too=True) for a in leaving))

    async def _commit(self, unit: Unit) -> None:
        """Try a few times only: a group that has gone on without us refuses every time."""
        for attempt in range(_ATTEMPTS):
            if await self._host.commit_partitions(unit):
                return
            await asyncio.sleep(_RETRY_S * attempt / _ATTEMPTS)
        _log.warning("%s: not committed; what is not committed will be repeated", sorted(unit))

    def _close(self, unit: Unit) -> None:
        self._recovered.discard(unit)
        for partition in unit:
            assignment = self._running.pop(partition, None)
            if assignment is not None:
                assignment.closed = True
                assignment.withdraw()


class LoopListener:
    """Carries the poll thread's reports into the event loop, one call per fetch."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        assignments: Assignments,
        receive: Callable[[list[Run]], None],
        host: Host,
    ) -> None:
        self._loop = loop
        self._assignments = assignments
        self._receive = receive
        self._host = host

    def fetched(self, runs: list[Run]) -> None:
        """Hand over."""
        self._soon(self._receive, runs)

    def assigned(self, partitions: set[TopicPartition]) -> None:
        """Start units."""
        self._soon(self._assignments.given, partitions)

    def revoked(self, partitions: set[TopicPartition]) -> concurrent.futures.Future[None] | None:
        """Release units; the poll thread waits for the answer."""
        work = self._assignments.revoke(partitions)
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed: nothing is left to finish
            work.close()
            return None

    def lost(self, partitions: set[TopicPartition]) -> None:
        """Drop units."""
        self._soon(self._assignments.lost, partitions)

    def failed(self, error: BaseException) -> None:
        """Stop the app: without the poll loop it would sit there and do nothing."""
        self._soon(lambda: self._host.spawn(self._host.crash(error)))

    def _soon(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody listens
            self._loop.call_soon_threadsafe(call, *args)
