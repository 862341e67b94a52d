"""Fetches chunk topics past confluent-kafka's messages: from the client's queue into columns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, KafkaError
from numpy.typing import NDArray

from sendtide.transport.errors import TransportError
from sendtide.transport.librdkafka import LIBRARY, handle_of, report_errors
from sendtide.transport.rebalance import TopicPartition
from sendtide.transport.record_batch import PADDING_BYTES, BinaryColumn, RecordBatch, starts_of
from sendtide.transport.unpack import compiled, copied, destroyed, heads

__all__ = ["FetchQueue"]

Failure = tuple[TopicPartition, KafkaError]

_NONE: Final = np.zeros(0, np.uint64)


class FetchQueue:
    """What a consumer fetches of the partitions taken over; others stay with `consumer.consume`.

    Rebalances stay there too. It ends the consumer with itself. For one thread, the one that polls.

    active: partitions have been taken over, so records may come.

    Args:
        consumer: as it was made; its own `error_cb` is not called any more.
        on_error: told of the client's errors, from within `consume`, `gather` and `close`.

    Raises:
        ConfigurationError: see `handle_of`.
    """

    def __init__(self, consumer: Consumer, on_error: Callable[[KafkaError], None]) -> None:
        self._consumer, self._client = consumer, handle_of(consumer)
        self._callback = report_errors(self._client, on_error)
        self._queue = LIBRARY.rd_kafka_queue_new(self._client)
        self.active = False
        self._messages, self._count = _NONE, 0
        compiled()

    def take_over(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch these here; call it before they are assigned, each time.

        Raises:
            TransportError: the client refuses.
        """
        for topic, number in partitions:
            self.active = True
            queue = LIBRARY.rd_kafka_queue_get_partition(self._client, topic.encode(), number)
            if not queue:
                msg = f"the Kafka client has no queue of {topic}/{number}"
                raise TransportError(msg)
            LIBRARY.rd_kafka_queue_forward(queue, self._queue)
            LIBRARY.rd_kafka_queue_destroy(queue)

    def gather(self, messages: int, timeout_s: float) -> bool:
        """Wait at most so long for so many messages, gathered before included; True if they are."""
        if len(self._messages) < messages:
            self._messages = np.concatenate(
                [self._messages, np.zeros(messages - len(self._messages), np.uint64)]
            )
        room = self._messages[self._count : messages]
        if len(room):
            wait_ms = int(timeout_s * 1000)
            self._count += max(
                0,
                LIBRARY.rd_kafka_consume_batch_queue(
                    self._queue, wait_ms, room.ctypes.data, len(room)
                ),
            )
        return self._count >= messages

    def take(self) -> tuple[list[tuple[TopicPartition, RecordBatch]], list[Failure]]:
        """Return (a batch of each partition, errors) out of what was gathered."""
        found, self._count = self._messages[: self._count], 0
        if not len(found):
            return [], []
        try:
            return self._sorted(found)
        finally:
            destroyed(found)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Throw away what was gathered of these: they are taken away, or sought."""
        found = self._messages[: self._count]
        if len(found):
            gone = np.array([_place(head) in partitions for head in heads(found)])
            kept = found[~gone]
            destroyed(found[gone])
            self._messages[: len(kept)] = kept
            self._count = len(kept)

    def close(self) -> None:
        """Close the consumer: without this, what was gathered keeps it from ending."""
        queue, self._queue = self._queue, None
        if queue:
            destroyed(self._messages[: self._count])
            self._count = 0
            LIBRARY.rd_kafka_queue_destroy(queue)
        self._consumer.close()

    @staticmethod
    def _sorted(
        found: NDArray[np.uint64],
    ) -> tuple[list[tuple[TopicPartition, RecordBatch]], list[Failure]]:
        seen = heads(found)
        failed = seen["error"] != 0
        errors = [
            (_place(seen[row]), _error_of(seen[row], int(found[row])))
            for row in np.flatnonzero(failed).tolist()
        ]
        if errors:
            seen = seen[~failed]
        return [(_place(run[0]), _batch(run)) for run in _runs(seen)], errors


def _place(head: Any) -> TopicPartition:
    topic = int(head["topic"])
    name: bytes = LIBRARY.rd_kafka_topic_name(topic) if topic else b""
    return name.decode(), int(head["partition"])


def _runs(seen: NDArray[np.void]) -> list[NDArray[np.void]]:
    """Messages of one partition each, in the order they came in."""
    if not len(seen):
        return []
    order = np.lexsort((seen["partition"], seen["topic"]))  # stable
    topics, partitions = seen["topic"][order], seen["partition"][order]
    changes = (np.diff(topics) != 0) | (np.diff(partitions) != 0)
    return [seen[rows] for rows in np.split(order, np.flatnonzero(changes) + 1)]


def _batch(run: NDArray[np.void]) -> RecordBatch:
    return RecordBatch(
        np.ascontiguousarray(run["offset"]),
        np.ascontiguousarray(run["timestamp_ms"]),
        _column(run["value"], run["value_length"]),
        _column(run["key"], run["key_length"]),
    )


def _column(addresses: NDArray[np.int64], lengths: NDArray[np.int64]) -> BinaryColumn:
    starts = starts_of(lengths)
    data = np.empty(starts[-1] + PADDING_BYTES, np.uint8)
    data[starts[-1] :] = 0
    copied(np.ascontiguousarray(addresses), starts, data)
    return BinaryColumn(data, starts, addresses == 0)


def _error_of(head: Any, message: int) -> KafkaError:
    text: bytes = LIBRARY.rd_kafka_message_errstr(message) or b""
    return KafkaError(int(head["error"]), text.decode("utf-8", "replace"))
