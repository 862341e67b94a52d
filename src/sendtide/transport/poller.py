"""The thread that talks to librdkafka: fetches, follows rebalances, hands over chunks.

It polls from `subscribe` on, so group membership never depends on how busy the event loop is. Each
fetch becomes one call into the loop, whatever the number of messages. A bounded number of fetches
may wait for the loop; then polling waits too, while librdkafka's own thread keeps the heartbeat.

Copartitioning: the cooperative-sticky assignor places each topic's partitions on their own. So only
the first topic of a copartitioned group is subscribed to; when partition n of it comes or goes, n
of the others is added to or taken from the local assignment in the same callback. The broker
accepts a member's commits for them like any other.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Final, Protocol

from confluent_kafka import OFFSET_STORED, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Position

from sendtide.transport.commits import TopicPartition

__all__ = ["Fetched", "Listener", "Poller"]

logger = logging.getLogger(__name__)

Fetched = dict[TopicPartition, list[Any]]
_POLL_S: Final = 0.05
_FETCHES_WAITING: Final = 4
_ASSIGN_BUDGET_S: Final = 120.0


class Listener(Protocol):
    """The event-loop side; the first four run in the loop, `fetched` too but must not wait."""

    async def on_assigned(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return start offsets; those left out start where the group committed."""
        ...

    async def on_revoked(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offsets to commit before the partitions go."""
        ...

    async def on_lost(self, partitions: set[TopicPartition]) -> None:
        """The partitions are gone already."""
        ...

    async def on_failed(self, error: BaseException) -> None:
        """The thread ends because of this error."""
        ...

    def fetched(self, messages: Fetched) -> None:
        """Messages by partition, in offset order."""
        ...


class Poller(threading.Thread):
    """Owns one `confluent_kafka.Consumer` from its making to its close."""

    def __init__(
        self,
        config: Mapping[str, Any],
        topics: Iterable[str],
        copartitioned: Sequence[Sequence[str]],
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        *,
        chunk_messages: int,
        revoke_budget_s: float,
    ) -> None:
        super().__init__(name="rdkafka-poller", daemon=True)
        self.client = Consumer(dict(config))
        self._followers = {group[0]: tuple(group[1:]) for group in copartitioned}
        following = {topic for group in copartitioned for topic in group[1:]}
        self._topics = sorted(set(topics) - following)
        self._listener = listener
        self._loop = loop
        self._chunk_messages = chunk_messages
        self._revoke_budget_s = revoke_budget_s
        self._stopping = threading.Event()
        self._room = threading.Semaphore(_FETCHES_WAITING)

    def stop(self) -> None:
        """Ask the thread to leave the group and end; join it from outside the event loop."""
        self._stopping.set()

    def run(self) -> None:
        """Poll until stopped."""
        try:
            self.client.subscribe(
                self._topics,
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not self._stopping.is_set():
                if self._room.acquire(timeout=_POLL_S):
                    self._fetch()
        except BaseException as error:  # noqa: BLE001 - told to the loop, which ends the app
            logger.exception("the poll loop of the consumer failed")
            self._call(self._listener.on_failed(error), _ASSIGN_BUDGET_S)
        finally:
            self.client.close()

    def _fetch(self) -> None:
        messages = self.client.consume(self._chunk_messages, _POLL_S)
        by_partition: Fetched = {}
        for message in messages:
            if message.error() is None:
                where = (message.topic(), message.partition())
                if where in by_partition:
                    by_partition[where].append(message)
                else:
                    by_partition[where] = [message]
            else:
                self._judge(message.error())
        if by_partition:
            self._loop.call_soon_threadsafe(self._deliver, by_partition)
        else:
            self._room.release()

    def _deliver(self, messages: Fetched) -> None:
        try:
            self._listener.fetched(messages)
        finally:
            self._room.release()

    @staticmethod
    def _judge(error: KafkaError) -> None:
        """Raise what cannot heal by itself; log what librdkafka retries."""
        if error.fatal():
            raise KafkaException(error)
        logger.warning("broker: %s", error.str())

    def _group(self, partitions: Iterable[Position]) -> list[TopicPartition]:
        """The partitions the group gave or took, each with those that follow it."""
        return [
            (topic, p.partition)
            for p in partitions
            for topic in (p.topic, *self._followers.get(p.topic, ()))
        ]

    def _on_assign(self, client: Consumer, partitions: list[Position]) -> None:
        group = self._group(partitions)
        starts = self._call(self._listener.on_assigned(set(group)), _ASSIGN_BUDGET_S) or {}
        client.incremental_assign(
            [Position(t, n, starts.get((t, n), OFFSET_STORED)) for t, n in group]
        )

    def _on_revoke(self, client: Consumer, partitions: list[Position]) -> None:
        group = self._group(partitions)
        offsets = self._call(self._listener.on_revoked(set(group)), self._revoke_budget_s) or {}
        if offsets:
            try:
                client.commit(
                    offsets=[Position(t, n, o) for (t, n), o in offsets.items()],
                    asynchronous=False,
                )
            except KafkaException as error:
                logger.warning("offsets of revoked partitions are not committed: %s", error)
        client.incremental_unassign([Position(t, n) for t, n in group])

    def _on_lost(self, client: Consumer, partitions: list[Position]) -> None:
        group = self._group(partitions)
        self._call(self._listener.on_lost(set(group)), self._revoke_budget_s)
        client.incremental_unassign([Position(t, n) for t, n in group])

    def _call(self, work: Awaitable[Any], budget_s: float) -> Any:
        """Run `work` in the event loop and wait for it, at most `budget_s`."""
        if self._loop.is_closed():
            work.close()  # type: ignore[attr-defined]
            return None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]
        try:
            return future.result(budget_s)
        except FutureTimeoutError:
            future.cancel()
            logger.error("a rebalance step took over %.0f s and is abandoned", budget_s)
            return None
