"""What a row produces: simulated mail with trouble in it, at a steady pace, every record confirmed.

A record counts only once the broker has acknowledged it. The producer is idempotent: a plain one's
retry may store a record twice or behind its successors, which no recount could know.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from confluent_kafka import Producer

from sendtide.chaos.recount import Record
from sendtide.lab import Scenario, Spoiler, event_records
from sendtide.transport import ONE_REQUEST

__all__ = ["Load", "mail"]

_TICK_S: Final = 0.02
_CLIENTS: Final = 30
_RECIPIENTS: Final = 4_000


def mail(
    events: int, seed: int, *, trouble: float = 0.01, zipf: float = 1.1, lateness_ms: int
) -> list[Record]:
    """About `events` records; `trouble` is the share each of duplicates, late ones and poison."""
    scenario = Scenario(
        seed=seed,
        clients=_CLIENTS,
        recipients=_RECIPIENTS,
        request_share=0.02,
        zipf_exponent=zipf,
        agents_told=True,
    )
    spoiler = Spoiler(
        seed=seed, duplicate=trouble, late=trouble, poison=trouble, lateness_ms=lateness_ms
    )
    parts = event_records(events, scenario, days=0.5)
    return [
        (topic, key, value, at_ms)
        for part in parts
        for topic, key, value, at_ms in (spoiler.spoil(part) if trouble else part)
    ]


class Load:
    """Produces records in order from a thread of its own.

    `acked` are those that are stored, each with its place in the order of production as last part.

    prefix: of the topic names. rate: records a second.
    """

    def __init__(self, kafka: str, prefix: str, rate: float) -> None:
        self._prefix, self._rate = prefix, rate
        settings: dict[str, Any] = {"bootstrap.servers": kafka, "partitioner": "murmur2_random"}
        settings |= {"enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 300_000}
        settings |= ONE_REQUEST
        self._producer = Producer({**settings, "log_level": 2})
        self._thread: threading.Thread | None = None
        self._numbers = count()
        self.acked: list[Record] = []
        self.failed: list[str] = []

    def start(self, records: Sequence[Record]) -> None:
        """Begin to produce in the background, at the pace."""
        self._thread = threading.Thread(target=self._run, args=(records,), daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait until all are stored.

        Raises:
            RuntimeError: the broker refused some: a fault of the run, not of the program.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._producer.flush(300)
        if self.failed or len(self._producer):
            msg = f"{len(self.failed)} records of the load were not stored: {self.failed[:1]}"
            raise RuntimeError(msg)
        # The recount goes by the order of production, which idempotence keeps per partition.
        self.acked.sort(key=lambda record: record[3])

    def send_now(self, records: Sequence[Record]) -> None:
        """Produce at full speed and wait until all are stored."""
        self._produce(records)
        self.finish()

    def _run(self, records: Sequence[Record]) -> None:
        began, sent = time.monotonic(), 0
        while sent < len(records):
            due = min(len(records), int((time.monotonic() - began) * self._rate) + 1)
            self._produce(records[sent:due])
            sent = due
            self._producer.poll(_TICK_S)

    def _produce(self, records: Sequence[Record]) -> None:
        for record in records:
            topic, key, value, _ = record
            while True:
                try:
                    self._producer.produce(
                        self._prefix + topic, value, key, on_delivery=self._reported(record)
                    )
                    break
                except BufferError:
                    self._producer.poll(0.05)
        self._producer.poll(0)

    def _reported(self, record: Record) -> Callable[[Any, Any], None]:
        number = next(self._numbers)

        def report(error: Any, _message: Any) -> None:
            if error is None:
                self.acked.append((record[0], record[1], record[2], number))
            else:
                self.failed.append(error.str())

        return report
