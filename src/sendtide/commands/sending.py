"""Records onto topics, many at a time, each confirmed."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Producer

from sendtide.commands.options import KafkaServers
from sendtide.events.errors import Unavailable
from sendtide.events.wire import Records

__all__ = ["Sender"]

_FLUSH_S: Final = 30.0
_ROOM_S: Final = 0.05
_PART: Final = 20_000
_QUEUED: Final = 200_000


class Sender:
    """Sends `Records` in their order; leaving the `with` waits until all are stored.

    prefix: of the topic names. `sent` counts records queued, `failed` those the broker refused.
    """

    def __init__(self, servers: KafkaServers, prefix: str = "") -> None:
        self.sent = 0
        self.failed = 0
        self._reason = ""
        self._prefix = prefix
        self._producer = Producer(
            {
                **servers.client(),
                "partitioner": "murmur2_random",
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

    def send(self, records: Records, *, now: bool = False) -> None:
        """Queue all of `records`; waits while the queue is full.

        now: stamp them with the time of sending instead of their own.
        """
        for topic, (keys, values, stamps) in records.by_topic().items():
            times = [0] * len(keys) if now else stamps.tolist()
            rows = [
                {"key": key, "value": value, "timestamp": time} if time else
                {"key": key, "value": value}
                for key, value, time in zip(keys, values, times, strict=True)
            ]  # fmt: skip
            self._queue(self._prefix + topic, rows)
        self._producer.poll(0)

    def _queue(self, topic: str, rows: list[dict[str, Any]]) -> None:
        """Queue a part at a time, once there is room for all of it: order is kept."""
        for start in range(0, len(rows), _PART):
            while len(self._producer) > _QUEUED - _PART:
                self._producer.poll(_ROOM_S)
            part = rows[start : start + _PART]
            queued = self._producer.produce_batch(topic, part, on_delivery=self._report)
            self.sent += queued
            self.failed += len(part) - queued

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
