"""Producers on librdkafka: many records a call, delivery awaited, failures raised."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from faust.transport import producer as faust_producer
from faust.types import TP, RecordMetadata

from sendtide.transport.settings import settings_of

__all__ = ["DeliveryFailed", "OutgoingRecord", "RdkafkaProducer", "RecordProducer"]

logger = logging.getLogger(__name__)

_POLL_S: Final = 0.02
_FULL_WAIT_S: Final = 0.01
_FLUSH_S: Final = 30.0
_DEFAULTS: Final[dict[str, Any]] = {
    "partitioner": "murmur2_random",  # where Java clients put a key
    "linger.ms": 2,
    "acks": "all",
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 262_144,
    "message.max.bytes": 8 * 1024 * 1024,
    "compression.type": "none",
}


class DeliveryFailed(Exception):  # noqa: N818 - named after what happened
    """The broker did not take a record; its input must not be committed."""


@dataclass(slots=True)
class OutgoingRecord:
    """One record to send; `partition` None leaves the choice to the key."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = field(default_factory=tuple)


class _Batch:
    """Counts deliveries of one `send`; called from the poll thread."""

    __slots__ = ("_error", "_future", "_left", "_loop")

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._left = size
        self._error: KafkaError | None = None
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()

    def delivered(self, error: KafkaError | None, message: Any) -> None:  # noqa: ARG002
        self._left -= 1
        self._error = error or self._error
        if self._left == 0 and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self._future.done():
            return
        if self._error is None:
            self._future.set_result(None)
        else:
            msg = f"the broker refused a record: {self._error.str()}"
            self._future.set_exception(DeliveryFailed(msg))

    @property
    def future(self) -> asyncio.Future[None]:
        return self._future


class RecordProducer:
    """Sends lists of records; `await send(...)` returns when the broker has them all.

    The local queue is bounded: when it is full, `send` waits for room instead of failing.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._producer = Producer({**_DEFAULTS, **settings})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="rdkafka-producer", daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_S)

    async def send(self, records: Sequence[OutgoingRecord]) -> None:
        """Send `records` in order and wait for their delivery.

        Raises:
            DeliveryFailed: one of them was not taken; the others may have been.
        """
        if not records:
            return
        batch = _Batch(len(records), asyncio.get_running_loop())
        for record in records:
            while not self._offer(record, batch):
                await asyncio.sleep(_FULL_WAIT_S)
        await batch.future

    def _offer(self, record: OutgoingRecord, batch: _Batch) -> bool:
        try:
            self._producer.produce(
                record.topic,
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                on_delivery=batch.delivered,
                headers=list(record.headers) or None,
            )
        except BufferError:
            return False
        except KafkaException as error:
            batch.delivered(error.args[0], None)
        return True

    async def close(self) -> None:
        """Wait, bounded, for what is in flight and let go of the connection."""
        left = await asyncio.to_thread(self._producer.flush, _FLUSH_S)
        if left:
            logger.error("%d records were not delivered within %.0f s", left, _FLUSH_S)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)


class RdkafkaProducer(faust_producer.Producer):
    """Faust's producer interface (`topic.send`, replies) on a `RecordProducer`."""

    async def on_start(self) -> None:
        """Connect."""
        await super().on_start()
        settings = settings_of(self.app)
        servers = ",".join(f"{u.host or '127.0.0.1'}:{u.port or 9092}" for u in self.transport.url)
        self._records = RecordProducer(
            {"bootstrap.servers": servers, **settings.client, **settings.producer}
        )

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,  # noqa: ARG002 - the broker's clock is used
        headers: Any,
        *,
        transactional_id: str | None = None,  # noqa: ARG002
    ) -> asyncio.Future[RecordMetadata]:
        """Send one record; the future ends when it is delivered."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        record = OutgoingRecord(topic, value, key, partition, tuple(pairs))
        metadata = RecordMetadata(topic, partition or -1, TP(topic, partition or -1), -1)
        return asyncio.ensure_future(self._sent(record, metadata))

    async def _sent(self, record: OutgoingRecord, metadata: RecordMetadata) -> RecordMetadata:
        await self._records.send([record])
        return metadata

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        """Send one record and wait for its delivery."""
        return await (await self.send(*args, **kwargs))

    async def flush(self) -> None:
        """Wait for Faust's own buffer; records of `RecordProducer.send` are awaited there."""
        await self.buffer.flush()

    async def on_stop(self) -> None:
        """Deliver what is left and disconnect."""
        await self._records.close()

    async def create_topic(self, topic: str, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Topics are created and verified by `admin`."""
        logger.debug("topic %s is not declared from a worker", topic)

    def key_partition(self, topic: str, key: bytes | None) -> TP:  # noqa: ARG002
        """Unknown until delivery: librdkafka's partitioner decides."""
        return TP(topic, -1)

    def supports_headers(self) -> bool:
        """Headers are sent as they are."""
        return True
