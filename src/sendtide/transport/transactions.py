"""Exactly once where the broker has transactions: outputs and the offsets they came from, together.

Works are queued in the order they are to be stored. One transaction at a time holds all that has
gathered since the last, at most every `interval_s`::

    works ─► group's metadata ─► still ours? ─► begin, records, offsets, commit ─► done
                 ▲                   └─ no: withdrawn                │ aborted
                 └───────────────── those not yet stored ◄──────────┘

The offsets carry the member's generation (KIP-447), so the broker refuses a transaction of a member
the group has gone on without: that is the fence, and the transactional id need be only unique. The
metadata is asked of the poll thread *before* it is checked whose the partitions are. Had this
member lost them and joined anew, the poll thread would have reported the loss first; so metadata
that is newer than the loss never meets a work that is older.

An aborted transaction is written again, since the state that made it stands; where it is not known
whether it was stored, the group's offsets tell, as they are part of it. One that moves none (of
running results alone) may then be stored twice; they carry ids, or keys of a compacted topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException

from sendtide.transport.errors import TransactionAbortedError, TransportError, WithdrawnError
from sendtide.transport.rebalance import TopicPartition
from sendtide.transport.records import Record, sizes
from sendtide.transport.transactional_client import TransactionalClient

__all__ = ["Membership", "Tenure", "TransactionWriter"]

_log = logging.getLogger(__name__)

#: Attempts of half a minute each: a coordinator may be loading, as after a broker's restart.
_STARTS: Final = 4
_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0


@dataclass(eq=False, slots=True)
class Tenure:
    """A unit of partitions held, from assignment until it is taken away.

    committed: offset by partition up to which outputs are stored; the writer alone moves it.
    over: true once the unit is gone: what is still queued for it is withdrawn.
    """

    committed: dict[TopicPartition, int] = field(default_factory=dict)
    over: bool = False


class Membership(Protocol):
    """What a writer asks of the consumer whose offsets it commits."""

    async def group_metadata(self) -> Any:
        """Return what proves this member's generation to the broker."""
        ...

    async def committed(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int | None]:
        """Return the group's offsets, once no transaction is open over them."""
        ...


@dataclass(eq=False, slots=True)
class _Work:
    outputs: Mapping[str, Sequence[Record]]
    tenure: Tenure
    offsets: Mapping[TopicPartition, int]
    size: int
    done: asyncio.Future[None]


class TransactionWriter:
    """Writes for one event loop.

    Args:
        client: the blocking client.
        membership: of the group whose offsets are committed.
        interval_s: between the beginnings of two transactions, at least.
        max_bytes: records of one transaction, about.
    """

    def __init__(
        self,
        client: TransactionalClient,
        membership: Membership,
        *,
        interval_s: float = 0.1,
        max_bytes: int = 32 << 20,
    ) -> None:
        self._client = client
        self._membership = membership
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        self._queue: deque[_Work] = deque()
        self._wanted = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rdkafka-transact")
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self.aborted = 0

    async def start(self) -> None:
        """End what an earlier bearer of the id has left open, and begin to write.

        Raises:
            KafkaException: the broker does not answer, or refuses.
        """
        for attempt in range(_STARTS):
            try:
                await self._blocking(self._client.ready)
                break
            except KafkaException as error:
                if attempt + 1 == _STARTS or not error.args[0].retriable():
                    raise
                _log.warning("transactions cannot begin yet: %s", error.args[0].str())
        self._task = asyncio.create_task(self._run())

    async def write(
        self,
        outputs: Mapping[str, Sequence[Record]],
        tenure: Tenure,
        offsets: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Return when the records are stored and the group stands at `offsets`.

        Without offsets the group stays where it is; the fence holds all the same.

        Raises:
            WithdrawnError: the tenure is over; nothing of this is stored.
            TransportError: the writer has failed for good.
        """
        if self._failure is not None:
            msg = f"transactions have ended: {self._failure}"
            raise TransportError(msg) from self._failure
        size = sum(int(sizes(records).sum()) for records in outputs.values())
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Work(outputs, tenure, offsets or {}, size, done))
        self._wanted.set()
        await done

    async def stop(self) -> None:
        """End; what is queued still is not stored."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._fail(WithdrawnError("the writer was stopped"))
        await self._blocking(self._client.close)
        self._thread.shutdown(wait=False)

    async def _blocking(self, call: Any, *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def _run(self) -> None:
        began = 0.0
        works: list[_Work] = []
        try:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(max(0.0, began + self._interval_s - time.monotonic()))
                began = time.monotonic()
                works = self._take()
                await self._store(works)
        except Exception as error:
            self._fail(error, works)

    def _take(self) -> list[_Work]:
        """The next works in order, as many as one transaction should hold."""
        works: list[_Work] = []
        size = 0
        while self._queue and (not works or size + self._queue[0].size <= self._max_bytes):
            work = self._queue.popleft()
            size += work.size
            works.append(work)
        if not self._queue:
            self._wanted.clear()
        return works

    async def _store(self, works: list[_Work]) -> None:
        """Write until each is stored or withdrawn."""
        pause_s = _RETRY_S
        while works := _remaining(works):
            metadata = await self._membership.group_metadata()
            await asyncio.sleep(0)  # a loss that was reported before the metadata is dealt with now
            works = _remaining(works)
            if not works:
                return
            outputs = [pair for work in works for pair in work.outputs.items()]
            try:
                await self._blocking(self._client.write, outputs, _offsets(works), metadata)
            except TransactionAbortedError as error:
                self.aborted += 1
                _log.warning("a transaction of %d works is written again: %s", len(works), error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_RETRY_S)
                works = await self._not_stored(works)
            else:
                _settle(works)
                return

    async def _not_stored(self, works: list[_Work]) -> list[_Work]:
        """Settle them if they were stored after all; return them if not."""
        asked = {partition for work in works for partition in work.offsets}
        while True:
            try:
                await self._blocking(self._client.ready)
                found = await self._membership.committed(asked) if asked else {}
                break
            except KafkaException as error:
                _log.warning("the end of a transaction is not known yet: %s", error.args[0].str())
                await asyncio.sleep(_LONGEST_RETRY_S)
        # All of it was stored, or nothing: what would have moved the group tells for the rest too.
        moving = [pair for work in works for pair in _ahead(work)]
        if not moving or any((found.get(place) or 0) < offset for place, offset in moving):
            return works
        _settle(works)
        return []

    def _fail(self, error: BaseException, works: Iterable[_Work] = ()) -> None:
        self._failure = self._failure or error
        for work in (*works, *self._queue):
            if not work.done.done():
                work.done.set_exception(error)
        self._queue.clear()


def _remaining(works: Iterable[_Work]) -> list[_Work]:
    """Withdraw works whose tenure is over; return the others."""
    kept = []
    for work in works:
        if work.done.done():  # cancelled by whoever waited for it
            continue
        if not work.tenure.over:
            kept.append(work)
            continue
        msg = f"{len(work.outputs)} topics' records are withdrawn: their partition was taken away"
        work.done.set_exception(WithdrawnError(msg))
    return kept


def _ahead(work: _Work) -> list[tuple[TopicPartition, int]]:
    """Offsets of a work that are past where its tenure stands."""
    known = work.tenure.committed
    return [(place, o) for place, o in work.offsets.items() if o > known.get(place, -1)]


def _offsets(works: Iterable[_Work]) -> dict[TopicPartition, int]:
    """Where the group stands after these works; never behind where each tenure already stands."""
    offsets: dict[TopicPartition, int] = {}
    for work in works:
        for partition, offset in (*work.tenure.committed.items(), *work.offsets.items()):
            offsets[partition] = max(offset, offsets.get(partition, offset))
    return offsets


def _settle(works: Iterable[_Work]) -> None:
    for work in works:
        for partition, offset in work.offsets.items():
            before = work.tenure.committed.get(partition, offset)
            work.tenure.committed[partition] = max(offset, before)
        if not work.done.done():
            work.done.set_result(None)
