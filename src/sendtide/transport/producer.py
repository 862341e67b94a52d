"""Faust's producer on librdkafka: one future per message for agents, batches for hot paths."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from faust.transport import base
from faust.types import TP, RecordMetadata

from sendtide.transport.admin import TopicSpec, create_topics
from sendtide.transport.at_least_once import AtLeastOnceWriter
from sendtide.transport.deliveries import BatchProducer, Delivery
from sendtide.transport.errors import ConfigurationError
from sendtide.transport.partitioner import partition_of
from sendtide.transport.records import Record
from sendtide.transport.settings import producer_config, settings_of, transaction_config
from sendtide.transport.transactional_client import TransactionalClient
from sendtide.transport.transactions import TransactionWriter
from sendtide.transport.writer import Writer

__all__ = ["Producer"]


class Producer(base.Producer):
    """`app.producer`. `send_batch` is the hot path; the rest is what Faust asks for.

    Keys are partitioned as the Java client does (`murmur2_random`); the app's
    `producer_partitioner` is not used.
    """

    def __post_init__(self) -> None:
        if self.app.conf.producer_threaded:
            msg = "producer_threaded is of no use here: librdkafka sends in threads of its own"
            raise ConfigurationError(msg)
        self._batches: BatchProducer | None = None
        self._writer: Writer | None = None
        self._partition_counts: dict[str, int] = {}

    async def on_start(self) -> None:
        """Create the client."""
        await super().on_start()
        settings = settings_of(self.app)
        self._config = producer_config(self.app, self.transport.url, settings)
        self._batches = BatchProducer(
            self._config,
            max_records=settings.outstanding_messages,
            max_bytes=settings.outstanding_bytes,
        )
        self._batches.start()
        interval_s = settings.write_interval_s
        if settings.transactional_id:
            client = TransactionalClient(transaction_config(self.app, self.transport.url, settings))
            self._writer = TransactionWriter(client, self.app.consumer, interval_s=interval_s)
        else:
            self._writer = AtLeastOnceWriter(self._batches, interval_s=interval_s)
        await self._writer.start()

    async def on_stop(self) -> None:
        """Send what is left, within the close timeout."""
        if self._writer is not None:
            await self._writer.stop()
            self._writer = None
        if self._batches is not None:
            await self._batches.stop(settings_of(self.app).close_timeout_s)
            self._batches = None

    async def send_batch(self, topic: str, records: Sequence[Record]) -> Delivery:
        """Queue records in order; see `BatchProducer.send`."""
        return await self._client().send(topic, records)

    @property
    def writer(self) -> Writer:
        """Stores what works have made; with `Settings.transactional_id` in transactions."""
        if self._writer is None:
            msg = "the producer is not started"
            raise RuntimeError(msg)
        return self._writer

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,  # noqa: ARG002
    ) -> Awaitable[RecordMetadata]:
        """Queue one message; the returned awaitable is done when it is stored."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
        record = Record(
            value,
            key,
            -1 if partition is None else partition,
            int(timestamp * 1000) if timestamp else 0,
            pairs,
        )
        delivery = await self._client().send(topic, [record])
        return asyncio.ensure_future(_metadata(topic, delivery))

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        """Send one message and wait until it is stored."""
        return await (await self.send(*args, **kwargs))

    async def flush(self) -> None:
        """Wait for everything sent; raises if something failed that nobody awaited."""
        await self.buffer.flush()
        if self._batches is not None:
            await self._batches.flush()

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        retention: float | None = None,
        compacting: bool | None = None,
        deleting: bool | None = None,
        **_: Any,
    ) -> None:
        """Create a topic unless it exists."""
        options = dict(config or {})
        policies = [
            name
            for name, on in (("compact", compacting), ("delete", deleting))
            if on is not None and on
        ]
        if policies:
            options["cleanup.policy"] = ",".join(policies)
        if retention:
            options["retention.ms"] = str(int(float(retention) * 1000))
        spec = TopicSpec(topic, partitions, replication, options)
        await asyncio.to_thread(create_topics, self._config, [spec])

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Where a key goes; asks the broker once per topic."""
        if topic not in self._partition_counts:
            self._partition_counts[topic] = self._client().partition_count(topic)
        return TP(topic, partition_of(key, self._partition_counts[topic]))

    def supports_headers(self) -> bool:
        """Headers are always sent."""
        return True

    def _client(self) -> BatchProducer:
        if self._batches is None:
            msg = "the producer is not started"
            raise RuntimeError(msg)
        return self._batches


async def _metadata(topic: str, delivery: Delivery) -> RecordMetadata:
    # A failure also fails the next flush, hence the commit: agents rarely await their sends.
    await delivery.delivered(observe=False)
    message = delivery.last
    assert message is not None
    partition = message.partition() or 0
    return RecordMetadata(topic, partition, TP(topic, partition), message.offset())
