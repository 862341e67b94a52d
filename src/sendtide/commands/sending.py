"""Records onto topics, many at a time, each confirmed."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Producer

from sendtide.commands.options import KafkaServers
from sendtide.events.errors import Unavailable
from sendtide.events.wire import Records
from sendtide.transport import ONE_REQUEST

__all__ = ["Sender"]

_FLUSH_S: Final = 30.0
_ROOM_S: Final = 0.05
_PART: Final = 5_000
_QUEUED: Final = 200_000


class Sender:
    """Sends `Records` in their order; leaving the `with` waits until all are stored.

    prefix: of the topic names. compression: a codec, unless the settings of `servers` name one; for
    readers that have none, "none". `sent` counts records queued, `failed` those the broker refused.
    """

    def __init__(
        self, servers: KafkaServers, prefix: str = "", *, compression: str = "lz4"
    ) -> None:
        self.sent = 0
        self.failed = 0
        self._reason = ""
        self._prefix = prefix
        self._producer = Producer(
            {
                "compression.type": compression,  # records of one topic are much alike
                **servers.client(),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,  # a retry stores nothing twice
                **ONE_REQUEST,
                "linger.ms": 5,
                "queue.buffering.max.messages": _QUEUED,
                "message.timeout.ms": 30_000,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.flush(2.0)

    def send(self, records: Records) -> None:
        """Queue all of `records` in order, with their timestamps; waits while the queue is full."""
        produce, report = self._producer.produce, self._report
        names = {topic: self._prefix + topic for topic in records.topics}
        # One by one: librdkafka's batches carry no timestamps.
        for count, (topic, key, value, time_ms) in enumerate(records):
            if count % _PART == 0:
                self._wait_for_room()
            produce(names[topic], value, key, on_delivery=report, timestamp=time_ms)
        self.sent += len(records)
        self._producer.poll(0)

    def _wait_for_room(self) -> None:
        """Room for a whole part, so that nothing is refused and order is kept."""
        self._producer.poll(0)
        while len(self._producer) > _QUEUED - _PART:
            self._producer.poll(_ROOM_S)

    def _report(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self.failed += 1
            self._reason = self._reason or error.str()

    def flush(self) -> None:
        """Wait until everything is stored.

        Raises:
            Unavailable: some records were not confirmed, or refused.
        """
        left = self._producer.flush(_FLUSH_S)
        if left or self.failed:
            msg = (
                f"{left + self.failed} of {self.sent} records are not confirmed"
                f"{': ' + self._reason if self._reason else ''}; check that Kafka is reachable"
            )
            raise Unavailable(msg)
