"""Reads the compacted topic `ml.models` into a directory, outside any consumer group.

Every worker and every endpoint needs the newest state of every client's models, so each reads all
partitions from the beginning and keeps up; nothing is committed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from sendtide.events.errors import CorruptData, Unavailable

__all__ = ["ModelFeed"]

logger = logging.getLogger(__name__)

_BATCH = 500
_POLL_S = 0.2


class _Directory(Protocol):
    def apply(self, data: bytes) -> object: ...


class ModelFeed:
    """A thread that feeds `directory` until `stop`.

    Args:
        settings: librdkafka client settings, `bootstrap.servers` among them.
        topic: the compacted topic's full name.
        directory: receives every record's value by `apply(bytes)`; called from the feed's thread.
    """

    def __init__(
        self, settings: Mapping[str, str | int], topic: str, directory: _Directory
    ) -> None:
        self._topic = topic
        self._directory = directory
        self._settings = {
            **settings,
            "group.id": f"{topic}-reader",  # never joined: partitions are assigned by hand
            "enable.auto.commit": False,
            "enable.partition.eof": False,
        }
        self._consumer = Consumer(self._settings)
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-feed", daemon=True)
        self.refused = 0

    def start(self) -> None:
        """Begin reading in the background."""
        self._thread.start()

    def wait_caught_up(self, timeout_s: float) -> bool:
        """Wait until everything in the topic at the start has been read."""
        return self._caught_up.wait(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and close the client."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        ends = self._assign()
        try:
            while not self._stopping.is_set():
                for message in self._consumer.consume(_BATCH, _POLL_S):
                    if message.error() is None and message.value() is not None:
                        self._take(message.value())
                if not self._caught_up.is_set() and self._reached(ends):
                    self._caught_up.set()
        finally:
            self._consumer.close()

    def _assign(self) -> dict[int, int]:
        """Assign all partitions from their beginning; return each one's end as of now."""
        while not self._stopping.is_set():
            try:
                topics = self._consumer.list_topics(self._topic, timeout=5).topics
                partitions = [
                    TopicPartition(self._topic, number, OFFSET_BEGINNING)
                    for number in topics[self._topic].partitions
                ]
                if not partitions:
                    logger.warning("%s does not exist yet", self._topic)
                    self._stopping.wait(1.0)
                    continue
                # Asked one by one, and each would wait behind a fetch that waits for records.
                ends = {
                    p.partition: self._consumer.get_watermark_offsets(p, timeout=5)[1]
                    for p in partitions
                }
                self._consumer.assign(partitions)
                return ends
            except KafkaException as error:
                logger.warning("%s cannot be read yet: %s", self._topic, error)
                self._stopping.wait(1.0)
                self._consumer.close()  # it may know no broker any more
                self._consumer = Consumer(self._settings)
        msg = f"{self._topic} was never read: the feed was stopped first"
        raise Unavailable(msg)

    def _reached(self, ends: Mapping[int, int]) -> bool:
        position = {
            p.partition: p.offset
            for p in self._consumer.position([TopicPartition(self._topic, n) for n in ends])
        }
        return all(end == 0 or position[n] >= end for n, end in ends.items())

    def _take(self, value: bytes) -> None:
        try:
            self._directory.apply(value)
        except CorruptData as error:
            self.refused += 1
            logger.warning("a record of %s is refused: %s", self._topic, error)
