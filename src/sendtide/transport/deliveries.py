"""Sending: batches in, one confirmation per batch out, never more outstanding than a limit.

Knows nothing of Faust. Delivery reports arrive in a thread that polls the client; the event loop
hears once per poll, not once per record.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from sendtide.transport.errors import DeliveryError
from sendtide.transport.records import Record, are_plain, as_batch, sizes

__all__ = ["BatchProducer", "Delivery"]

_log = logging.getLogger(__name__)

#: Records given to the client before the event loop gets a turn.
_SLICE_RECORDS = 1_000

#: Options with which a user may make the client's queue smaller than our limits.
_QUEUE_LIMITS = {"queue.buffering.max.messages", "queue.buffering.max.kbytes"}

#: The reports thread wakes this often without a report, to see that it should stop.
_POLL_S = 0.1


class Delivery:
    """The fate of one batch. `await delivery.delivered()` returns when all of it is stored."""

    def __init__(self, records: int, loop: asyncio.AbstractEventLoop) -> None:
        self.records = records
        self.failed = 0
        self.reason = ""
        self.observed = False
        self.last: Message | None = None
        self._left = records
        self._done: asyncio.Future[None] = loop.create_future()

    async def delivered(self, *, observe: bool = True) -> None:
        """Wait for the broker to have stored every record of the batch.

        A failure that somebody awaited here is that caller's to handle; with `observe=False`, as
        one that nobody awaited, it also fails the next `BatchProducer.flush`.

        Raises:
            DeliveryError: some were refused or timed out; these are not stored.
        """
        self.observed = self.observed or observe
        await asyncio.shield(self._done)
        if self.failed:
            msg = f"{self.failed} of {self.records} records were not delivered: {self.reason}"
            raise DeliveryError(msg, self.failed)

    async def settled(self) -> None:
        """Wait until the fate of every record is known, good or bad."""
        await asyncio.shield(self._done)

    def done(self) -> bool:
        """True once the fate of every record is known."""
        return self._done.done()

    def settle(self, part: _Slice) -> None:
        """Take the fate of some records; in the event loop."""
        self._left -= part.records
        self.failed += part.failed
        self.reason = self.reason or part.reason
        self.last = part.last
        if self._left == 0 and not self._done.done():
            self._done.set_result(None)


class _Slice:
    """Records queued in one go; counted down by the reports thread alone."""

    __slots__ = ("_finished", "_left", "delivery", "failed", "last", "reason", "records", "size")

    def __init__(self, delivery: Delivery, records: int, size: int, finished: list[_Slice]) -> None:
        self.delivery = delivery
        self.records = records
        self.size = size
        self.failed = 0
        self.reason = ""
        self.last: Message | None = None
        self._left = records
        self._finished = finished

    def report(self, error: KafkaError | None, message: Message | None) -> None:
        """Delivery report of one record."""
        if error is not None:
            self.failed += 1
            self.reason = self.reason or error.str()
        self.last = message
        self._left -= 1
        if self._left == 0:
            self._finished.append(self)


class BatchProducer:
    """A librdkafka producer for one event loop.

    Args:
        config: librdkafka options.
        max_records, max_bytes: outstanding; `send` waits for room rather than overflow the
            client's queue, so order within a partition is kept.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        max_records: int = 100_000,
        max_bytes: int = 64 << 20,
    ) -> None:
        self._client = Client(
            {
                "queue.buffering.max.messages": max_records + 2 * _SLICE_RECORDS,
                "queue.buffering.max.kbytes": max(4 * max_bytes // 1024, 65_536),
                **config,
                "error_cb": self._on_error,
            },
            logger=_log,
        )
        self._max_records = max_records
        self._max_bytes = max_bytes
        # A user's smaller queue may be full in the middle of a batch: only single records wait.
        self._own_queue = config.keys().isdisjoint(_QUEUE_LIMITS)
        self._pending: set[Delivery] = set()
        self._records = 0
        self._bytes = 0
        self._failed: list[Delivery] = []
        self._refused: deque[tuple[_Slice, KafkaError]] = deque()
        self._finished: list[_Slice] = []
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stopping = threading.Event()
        self._fatal: KafkaError | None = None
        self._thread = threading.Thread(target=self._serve, name="rdkafka-deliver", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to serve delivery reports to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def outstanding(self) -> tuple[int, int]:
        """(records, bytes) queued and not yet confirmed or refused."""
        return self._records, self._bytes

    async def send(self, topic: str, records: Sequence[Record]) -> Delivery:
        """Queue a batch in order; waits for room, not for delivery.

        A record that can never be sent (too large, unknown partition) fails the delivery, not
        this call.

        Raises:
            DeliveryError: the client has failed for good; nothing more can be sent.
        """
        assert self._loop is not None, "start() the producer first"
        delivery = Delivery(len(records), self._loop)
        if not records:
            delivery.settle(_Slice(delivery, 0, 0, self._finished))
            return delivery
        self._pending.add(delivery)
        async with self._turn:
            for part, size in self._slices(records):
                await self._wait_for_room(len(part), size)
                await self._queue(topic, part, _Slice(delivery, len(part), size, self._finished))
        return delivery

    async def flush(self, timeout_s: float | None = None) -> None:
        """Wait for all that was sent so far.

        Raises:
            DeliveryError: a batch failed that nobody awaited.
            TimeoutError: not everything was confirmed in time.
        """
        waiting = [asyncio.ensure_future(d.settled()) for d in self._pending]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=timeout_s)
            if late:
                for task in late:
                    task.cancel()
                msg = (
                    f"{self._records} records were not confirmed within {timeout_s} s; they may "
                    "or may not be stored. Is the broker reachable?"
                )
                raise TimeoutError(msg)
        unobserved = [d for d in self._failed if not d.observed]
        self._failed.clear()
        if unobserved:
            failed = sum(d.failed for d in unobserved)
            msg = f"{failed} records were not delivered: {unobserved[0].reason}"
            raise DeliveryError(msg, failed)

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Flush and end; raises as `flush` does, after ending."""
        try:
            await self.flush(timeout_s)
        finally:
            self._stopping.set()
            if self._thread.is_alive():
                await asyncio.to_thread(self._thread.join, 2 * _POLL_S + 1)

    def partition_count(self, topic: str, timeout_s: float = 5.0) -> int:
        """Partitions of a topic, 0 if the broker does not have it. Blocks."""
        metadata = self._client.list_topics(topic, timeout=timeout_s)
        return len(metadata.topics[topic].partitions)

    def _slices(self, records: Sequence[Record]) -> Iterator[tuple[Sequence[Record], int]]:
        """Cut into slices small enough that several fit within the limits."""
        most_records = max(1, min(_SLICE_RECORDS, self._max_records // 4))
        most_bytes = self._max_bytes // 4
        start = 0
        while start < len(records):
            part = records[start : start + most_records]
            ends = np.cumsum(sizes(part))
            fit = max(1, int(np.searchsorted(ends, most_bytes, "right")))
            yield part if fit == len(part) else part[:fit], int(ends[fit - 1])
            start += fit

    async def _wait_for_room(self, records: int, size: int) -> None:
        while self._records and (
            self._records + records > self._max_records or self._bytes + size > self._max_bytes
        ):
            self._room.clear()
            await self._room.wait()
        if self._fatal is not None:
            msg = f"the producer has failed for good: {self._fatal.str()}; restart the process"
            raise DeliveryError(msg, records)
        self._records += records
        self._bytes += size
        await asyncio.sleep(0)

    async def _queue(self, topic: str, records: Sequence[Record], part: _Slice) -> None:
        if self._own_queue and are_plain(records):
            self._queue_together(topic, records, part)
        else:
            await self._queue_one_by_one(topic, records, part)

    def _queue_together(self, topic: str, records: Sequence[Record], part: _Slice) -> None:
        messages = as_batch(records)
        if self._client.produce_batch(topic, messages, on_delivery=part.report) < len(messages):
            errors = [m["_error"] for m in messages if "_error" in m]
            self._refused += [(part, error) for error in errors]

    async def _queue_one_by_one(self, topic: str, records: Sequence[Record], part: _Slice) -> None:
        produce, report = self._client.produce, part.report
        for value, key, partition, timestamp_ms, headers in records:
            options: dict[str, Any] = {"timestamp": timestamp_ms} if timestamp_ms else {}
            if headers:
                options["headers"] = list(headers)
            while True:
                try:
                    produce(topic, value, key, partition, report, **options)
                except BufferError:  # a user's smaller queue than ours: wait, keep the order
                    await asyncio.sleep(0.01)
                    continue
                except KafkaException as error:
                    self._refused.append((part, error.args[0]))
                break

    def _serve(self) -> None:
        while not self._stopping.is_set():
            self._client.poll(_POLL_S)
            while self._refused:
                part, error = self._refused.popleft()
                part.report(error, None)
            if self._finished:
                finished = self._finished[:]
                del self._finished[: len(finished)]
                assert self._loop is not None
                if self._loop.is_closed():
                    return
                self._loop.call_soon_threadsafe(self._settle, finished)

    def _settle(self, finished: list[_Slice]) -> None:
        for part in finished:
            self._records -= part.records
            self._bytes -= part.size
            part.delivery.settle(part)
            if part.delivery.done():
                self._pending.discard(part.delivery)
                if part.delivery.failed:
                    self._failed = [d for d in self._failed if not d.observed]
                    self._failed.append(part.delivery)
        self._room.set()

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        _log.warning("Kafka producer: %s", error.str())
