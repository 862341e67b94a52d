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
whether it was stored, the group's offsets tell, as they are part of it; where the broker keeps them
as undecided, another transaction that is aborted decides them. One that moves none (of running
results alone) may then be stored twice; they carry ids, or keys of a compacted topic.

Where the group then stands behind what the broker has confirmed, a transaction was lost after its
commit. The writer ends, and with it the worker: the next begins where the group stands. A loss that
is of records alone, not of offsets, nobody can see.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException

from sendtide.transport.errors import (
    RecordTooLargeError,
    TransactionAbortedError,
    TransportError,
)
from sendtide.transport.rebalance import TopicPartition
from sendtide.transport.records import merged
from sendtide.transport.transactional_client import TransactionalClient
from sendtide.transport.writer import Tenure, Work, Writer, remaining

__all__ = ["Membership", "TransactionWriter"]

_log = logging.getLogger(__name__)

#: Attempts of half a minute each: a coordinator may be loading, as after a broker's restart.
_STARTS: Final = 4
_RETRY_S: Final = 0.1
_LONGEST_RETRY_S: Final = 2.0


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


class TransactionWriter(Writer):
    """Writes outputs and offsets; see `Writer`.

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
        super().__init__(interval_s, max_bytes)
        self._client = client
        self._membership = membership
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rdkafka-transact")
        self._confirmed: set[Tenure] = set()
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
        await super().start()

    async def stop(self) -> None:
        """End; what is queued still is not stored."""
        await super().stop()
        await self._blocking(self._client.close)
        self._thread.shutdown(wait=False)

    async def _blocking(self, call: Any, *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def _store(self, works: list[Work]) -> None:
        """Write until each is stored or withdrawn."""
        pause_s = _RETRY_S
        while works := remaining(works):
            metadata = await self._membership.group_metadata()
            await asyncio.sleep(0)  # a loss that was reported before the metadata is dealt with now
            works = remaining(works)
            if not works:
                return
            try:
                await self._blocking(_together, self._client.write, works, metadata)
            except RecordTooLargeError:
                raise
            except TransactionAbortedError as error:
                self.aborted += 1
                _log.warning("a transaction of %d works is written again: %s", len(works), error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_RETRY_S)
                works = await self._not_stored(works)
            else:
                _settle(works)
                before = {tenure for tenure in self._confirmed if not tenure.over}
                self._confirmed = before.union(work.tenure for work in works)
                return

    async def _not_stored(self, works: list[Work]) -> list[Work]:
        """Settle them if they were stored after all; return them if not."""
        while True:
            try:
                await self._blocking(self._client.ready)
                found = await self._found(_offsets(works).keys())
                break
            except KafkaException as error:
                _log.warning("the end of a transaction is not known yet: %s", error.args[0].str())
                await asyncio.sleep(_LONGEST_RETRY_S)
                await self._have_it_decided(works)
        # All of it was stored, or nothing: what would have moved the group tells for the rest too.
        moving = [pair for work in works for pair in _ahead(work)]
        if not moving or any((found.get(place) or 0) < offset for place, offset in moving):
            return works
        _settle(works)
        return []

    async def _found(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int | None]:
        """Where the group stands, in all that this writer has confirmed too.

        Raises:
            KafkaException: it is not told. TransportError: behind what was confirmed.
        """
        asked = set(partitions).union(*(t.committed for t in self._confirmed if not t.over))
        if not asked:
            return {}
        found = await self._membership.committed(asked)
        if _behind(self._confirmed, found):  # perhaps it is told by one that leads no more
            await asyncio.sleep(_LONGEST_RETRY_S)
            found = await self._membership.committed(asked)
        for topic, partition, before, now in _behind(self._confirmed, found):
            msg = (
                f"Kafka has lost a transaction that it had confirmed: the group stands at {now} of "
                f"{topic}/{partition}, and stood at {before}. Start this worker again: it goes on "
                "from there and sends again what was lost. Apache Kafka 4.3 and 4.4 do this where "
                "a partition has no leader for a moment (KAFKA-20734), any where an unclean leader "
                "is elected"
            )
            raise TransportError(msg)
        return found

    async def _have_it_decided(self, works: list[Work]) -> None:
        """See `TransactionalClient.renounce`; if that is refused too, it is tried again later."""
        try:
            metadata = await self._membership.group_metadata()
            await self._blocking(_together, self._client.renounce, works, metadata)
        except KafkaException as error:
            _log.warning("nor can it be decided yet: %s", error.args[0].str())


def _together(call: Callable[..., None], works: Sequence[Work], metadata: Any) -> None:
    """One call for the outputs of all works, merged, and for where the group stands after them."""
    call(merged([work.outputs for work in works]), _offsets(works), metadata)


def _behind(
    confirmed: Iterable[Tenure], found: Mapping[TopicPartition, int | None]
) -> list[tuple[str, int, int, int]]:
    """Topic, partition, confirmed offset and where the group stands, of those that have fallen."""
    return [
        (*place, offset, now)
        for tenure in confirmed
        for place, offset in tenure.committed.items()
        # None is of a topic that was deleted, or of an offset that has expired.
        if not tenure.over and (now := found.get(place)) is not None and now < offset
    ]


def _ahead(work: Work) -> list[tuple[TopicPartition, int]]:
    """Offsets of a work that are past where its tenure stands."""
    known = work.tenure.committed
    return [(place, o) for place, o in work.offsets.items() if o > known.get(place, -1)]


def _offsets(works: Iterable[Work]) -> dict[TopicPartition, int]:
    """Where the group stands after these works; never behind where each tenure already stands."""
    offsets: dict[TopicPartition, int] = {}
    for work in works:
        for partition, offset in (*work.tenure.committed.items(), *work.offsets.items()):
            offsets[partition] = max(offset, offsets.get(partition, offset))
    return offsets


def _settle(works: Iterable[Work]) -> None:
    for work in works:
        for partition, offset in work.offsets.items():
            before = work.tenure.committed.get(partition, offset)
            work.tenure.committed[partition] = max(offset, before)
        if not work.done.done():
            work.done.set_result(None)
