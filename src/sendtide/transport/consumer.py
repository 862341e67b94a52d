"""Faust's consumer on librdkafka: chunks in, one committed integer per partition out."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Position
from faust.transport import consumer as faust_consumer
from faust.types import TP, ConsumerMessage
from mode import Service

from sendtide.transport.chunk import Chunk
from sendtide.transport.commits import PartitionLedger, TopicPartition
from sendtide.transport.poller import Fetched, Poller
from sendtide.transport.settings import settings_of

__all__ = ["RdkafkaConsumer"]

logger = logging.getLogger(__name__)

_NOT_READY_S: Final = 0.02
_JOIN_S: Final = 30.0
_DRAIN_S: Final = 20.0


class RdkafkaConsumer(faust_consumer.Consumer):
    """Replaces Faust's fetcher, acknowledgements and commits; agents and streams stay Faust's.

    A message of a chunk topic is acknowledged through its `Chunk` alone: what Faust thinks of the
    event is ignored, because Faust acknowledges an event whose agent raised.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings_of(self.app)
        self.ledger = PartitionLedger()
        self._poller: Poller | None = None
        self._arrived: deque[Chunk | ConsumerMessage] = deque()
        self._arrival = asyncio.Event()
        self._paused: set[TopicPartition] = set()
        self._commit_lock = asyncio.Lock()

    # -- what Faust calls ---------------------------------------------------------------------

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Begin to poll; Faust calls this once all agents have started."""
        names = {t for t in topics if not t.endswith("__assignor-__leader")}
        if self._poller is not None:
            return
        self._poller = Poller(
            self._config(),
            names,
            self.settings.copartitioned,
            self,
            asyncio.get_running_loop(),
            chunk_messages=self.settings.chunk_messages,
            revoke_budget_s=self.settings.revoke_budget_s,
        )
        self._poller.start()

    def _config(self) -> dict[str, Any]:
        servers = ",".join(f"{u.host or '127.0.0.1'}:{u.port or 9092}" for u in self.transport.url)
        conf = self.app.conf
        return {
            "bootstrap.servers": servers,
            "client.id": conf.broker_client_id,
            "partition.assignment.strategy": "cooperative-sticky",
            "auto.offset.reset": conf.consumer_auto_offset_reset,
            "session.timeout.ms": int(conf.broker_session_timeout * 1000),
            "heartbeat.interval.ms": int(conf.broker_heartbeat_interval * 1000),
            "queued.max.messages.kbytes": 65_536,
            "fetch.message.max.bytes": 4 * 1024 * 1024,
            **self.settings.client,
            **self.settings.consumer,
            "group.id": conf.id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": False,
        }

    def assignment(self) -> set[TP]:
        """Partitions held now, those that follow a leader included."""
        return {TP(*partition) for partition in self.ledger.partitions()}

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand what has arrived to the conductor, one call per chunk; runs as Faust's fetcher."""
        while not (self.should_stop or fetcher.should_stop):
            if not self._arrived:
                self._arrival.clear()
                await self._wait_for_arrival()
                continue
            await self.can_resume_flow.wait()
            message = self._message(self._arrived[0])
            if message.tp not in self.app.topics._tp_to_callback:  # noqa: SLF001
                await self.sleep(_NOT_READY_S)
                continue
            self._arrived.popleft()
            await self.callback(message)

    async def _wait_for_arrival(self) -> None:
        try:
            await asyncio.wait_for(self._arrival.wait(), 0.2)
        except TimeoutError:
            return

    def ack(self, message: Any) -> bool:
        """Acknowledge one message of an ordinary topic; chunks acknowledge themselves."""
        if message.topic in self.settings.chunk_topics or message.acked:
            return False
        message.acked = True
        return self._finish((message.topic, message.partition), message.offset)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit the finished prefix of every partition; what the broker refused is tried again."""
        async with self._commit_lock:
            offsets = self.ledger.committable(self.ledger.partitions())
            return bool(offsets) and await self._commit_all(offsets)

    async def _commit_all(self, offsets: dict[TopicPartition, int]) -> bool:
        poller = self._poller
        if poller is None:
            return False
        positions = [Position(t, n, o) for (t, n), o in offsets.items()]
        try:
            await asyncio.to_thread(
                lambda: poller.client.commit(offsets=positions, asynchronous=False)
            )
        except (KafkaException, RuntimeError) as error:
            logger.warning("offsets are not committed, will be tried again: %s", error)
            return False
        self.ledger.committed(offsets)
        return True

    @Service.task
    async def _commits(self) -> None:
        async for _ in self.itertimer(self.settings.commit_interval_s, name="rdkafka-commit"):
            await self.force_commit()

    async def wait_empty(self) -> None:
        """Wait, bounded, until all work in flight is acknowledged; then commit."""
        for _ in range(int(_DRAIN_S / _NOT_READY_S)):
            if not any(self.ledger.in_flight(p)[0] for p in self.ledger.partitions()):
                break
            await asyncio.sleep(_NOT_READY_S)
        await self.force_commit()

    async def on_stop(self) -> None:
        """Commit what is finished and leave the group."""
        await self.force_commit()
        if self._poller is not None:
            self._poller.stop()
            await asyncio.to_thread(self._poller.join, _JOIN_S)

    # -- what the poller calls ----------------------------------------------------------------

    def fetched(self, messages: Fetched) -> None:
        """Take over a fetch; messages of partitions no longer held are dropped."""
        for partition, batch in messages.items():
            if partition not in self.ledger.partitions():
                continue
            if partition[0] in self.settings.chunk_topics:
                self._take_chunk(partition, batch)
            else:
                self._take_messages(partition, batch)
            self._restrain(partition)
        self._arrival.set()

    def _take_chunk(self, partition: TopicPartition, batch: list[Any]) -> None:
        size = sum(map(len, batch))
        chunk = Chunk(*partition, batch, size, self._ack_chunk)
        self.ledger.register(partition, chunk.first_offset, chunk.next_offset, size)
        self._arrived.append(chunk)

    def _take_messages(self, partition: TopicPartition, batch: list[Any]) -> None:
        for record in batch:
            offset = record.offset()
            self.ledger.register(partition, offset, offset + 1, len(record))
            self._arrived.append(self._to_message(TP(*partition), record))

    def _ack_chunk(self, chunk: Chunk) -> None:
        self._finish((chunk.topic, chunk.partition), chunk.first_offset)

    def _finish(self, partition: TopicPartition, offset: int) -> bool:
        finished = self.ledger.finish(partition, offset)
        in_flight = self.ledger.in_flight(partition)[1]
        if partition in self._paused and in_flight < self.settings.in_flight_bytes // 2:
            self._paused.discard(partition)
            self._client().resume([Position(*partition)])
        return finished

    def _restrain(self, partition: TopicPartition) -> None:
        """Pause a partition whose unacknowledged bytes are above the limit."""
        if partition not in self._paused:
            if self.ledger.in_flight(partition)[1] > self.settings.in_flight_bytes:
                self._paused.add(partition)
                self._client().pause([Position(*partition)])

    async def on_assigned(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Ask the application where to start, then tell Faust."""
        owner = self.settings.owner
        starts = await owner.assigned(partitions) if owner is not None else {}
        for partition in partitions:
            self.ledger.add_partition(partition)
        self.app.on_rebalance_start()
        self.add_future(self._tell_faust())
        return starts

    async def _tell_faust(self) -> None:
        await self.on_partitions_assigned(self.assignment(), self.app.consumer_generation_id)

    async def on_revoked(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Let the application finish, then return what may be committed for these partitions."""
        owner = self.settings.owner
        if owner is not None:
            await owner.revoked(partitions)
        offsets = self.ledger.committable(partitions)
        self._drop(partitions)
        return offsets

    async def on_lost(self, partitions: set[TopicPartition]) -> None:
        """Drop the partitions; nothing may be committed for them."""
        self._drop(partitions)
        if self.settings.owner is not None:
            await self.settings.owner.lost(partitions)

    async def on_failed(self, error: BaseException) -> None:
        """End the app: a worker that cannot poll must not look alive."""
        await self.app.crash(error)

    def _drop(self, partitions: set[TopicPartition]) -> None:
        for partition in partitions:
            self.ledger.drop_partition(partition)
        self._paused -= partitions
        kept = [a for a in self._arrived if (a.topic, a.partition) not in partitions]
        self._arrived = deque(kept)

    def _client(self) -> Any:
        assert self._poller is not None
        return self._poller.client

    # -- from librdkafka's message to Faust's ---------------------------------------------------

    def _message(self, arrived: Chunk | ConsumerMessage) -> ConsumerMessage:
        if not isinstance(arrived, Chunk):
            return arrived
        return self._faust_message(
            TP(arrived.topic, arrived.partition), arrived.first_offset, None, arrived, arrived.size
        )

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        message = self._faust_message(
            tp, record.offset(), record.key(), record.value(), len(record.value() or b"")
        )
        kind, timestamp = record.timestamp()
        message.timestamp, message.timestamp_type = timestamp / 1000.0, kind
        message.headers = dict(record.headers() or ())
        return message

    def _faust_message(
        self, tp: TP, offset: int, key: bytes | None, value: Any, size: int
    ) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            0.0,
            0,
            {},
            key,
            value,
            None,
            len(key or b""),
            size,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # -- parts of Faust's interface that tables use; tables are not supported on this transport --

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Faust asks for this after a rebalance; positions were set on assignment."""
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        self._client().seek(Position(partition.topic, partition.partition, offset))

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek several partitions."""
        for partition, offset in partitions.items():
            await self._seek(partition, offset)

    async def position(self, tp: TP) -> int | None:
        """Next offset to be fetched."""
        offset: int = self._client().position([Position(*tp)])[0].offset
        return offset if offset >= 0 else None

    def highwater(self, tp: TP) -> int:
        """End offset of the partition as librdkafka last saw it."""
        end: int = self._client().get_watermark_offsets(Position(*tp), cached=True)[1]
        return end

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """First offset of each partition."""
        return {tp: (await self._watermarks(tp))[0] for tp in partitions}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """End offset of each partition."""
        return {tp: (await self._watermarks(tp))[1] for tp in partitions}

    async def _watermarks(self, tp: TP) -> tuple[int, int]:
        client = self._client()
        result: tuple[int, int] = await asyncio.to_thread(
            lambda: client.get_watermark_offsets(Position(*tp), timeout=10)
        )
        return result

    def topic_partitions(self, topic: str) -> int | None:
        """Partition count, None if unknown."""
        metadata = self._client().list_topics(topic, timeout=10).topics.get(topic)
        return len(metadata.partitions) if metadata is not None else None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> Any:  # noqa: ARG002
        """Unknown on the consumer's side: the producer's partitioner decides."""
        return None

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Topics are created and verified by `admin`, never by a worker on the way."""
        logger.debug("topic %s is not declared from a worker", topic)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self._commit_all({(tp.topic, tp.partition): o for tp, o in offsets.items()})

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ARG002, ASYNC109
        return {}

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def close(self) -> None:
        """Leave the group; `on_stop` has done so in an orderly stop."""
        if self._poller is not None:
            self._poller.stop()
