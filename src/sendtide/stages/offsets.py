"""Looks up what a group has committed and where the log begins and ends, outside the group.

A broker that has just come back does not know its own partitions for a moment, and a client that
saw it go may look for its controller in vain, or believe for minutes what it said meanwhile (a
topic without partitions). So it is asked again, by a new client, before a worker gives up. An
offset that is not told is not one that is not there: whoever took it for that would say again what
has been said.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from sendtide.events.errors import Unavailable
from sendtide.transport import admin_client, topic_ids

__all__ = ["OffsetLookup"]

Answer = TypeVar("Answer")

_TIMEOUT_S: Final = 15.0
_PATIENCE_S: Final = 30.0
"""Longer than a broker takes to come back."""
_LOOK_S: Final = 5.0
_PAUSE_S: Final = 0.2


class OffsetLookup:
    """A client that never joins the group it asks about. Blocks; call it in a thread."""

    def __init__(self, settings: Mapping[str, str], group: str) -> None:
        self._settings = settings
        own = {"group.id": group, "enable.auto.commit": False, "enable.partition.eof": True}
        self._own = {**settings, **own, "isolation.level": "read_committed"}
        self._closed = False
        self._lock = threading.Lock()  # partitions recover side by side, this client asks in turn
        self._begin()

    def _begin(self) -> None:
        self._admin = admin_client(self._settings)
        self._consumer = Consumer(self._own)

    def committed(self, partitions: Iterable[tuple[str, int]]) -> dict[str, int]:
        """Committed offset by topic, of those that have one.

        Raises:
            Unavailable: the broker does not answer.
        """
        asked = [TopicPartition(topic, number) for topic, number in partitions]
        answers = self._answer("the group's offsets", lambda: self._committed(asked))
        return {a.topic: a.offset for a in answers if a.offset >= 0}

    def _committed(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        answers: list[TopicPartition] = self._consumer.committed(asked, timeout=_LOOK_S)
        for answer in answers:
            if answer.error is not None:
                raise KafkaException(answer.error)
        return answers

    def log(self, partitions: Iterable[tuple[str, int]]) -> dict[str, tuple[int, int]]:
        """First and end offset by topic.

        Raises:
            Unavailable: the broker does not answer.
        """
        return {
            topic: self._answer(
                f"the range of {topic}/{number}",
                partial(self._range, TopicPartition(topic, number)),
            )
            for topic, number in partitions
        }

    def _range(self, place: TopicPartition) -> tuple[int, int]:
        found: tuple[int, int] = self._consumer.get_watermark_offsets(place, timeout=_LOOK_S)
        return found

    def identities(self, topics: Iterable[str]) -> dict[str, str]:
        """Identity by topic, of those to which the broker gives one.

        Raises:
            Unavailable: the broker does not answer.
        """
        names = list(topics)
        return self._answer(
            "the identities of topics", lambda: topic_ids(self._admin, names, _LOOK_S)
        )

    def _answer(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer, for as long as somebody may wait for it."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with self._lock:
                    return ask()
            except KafkaException as error:
                if time.monotonic() > deadline:
                    msg = f"cannot read {what}: {error.args[0].str()}"
                    raise Unavailable(msg) from error
            time.sleep(_PAUSE_S)
            with self._lock:
                if self._closed:
                    msg = f"cannot read {what}: this worker ends"
                    raise Unavailable(msg)
                self._consumer.close()
                self._begin()

    def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Number of partitions by topic, of those that exist.

        Raises:
            Unavailable: the broker does not answer.
        """
        counts = {}
        for topic in topics:
            try:
                with self._lock:
                    about = self._consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
            except KafkaException as error:
                msg = f"the partitions of {topic} cannot be read: {error.args[0].str()}"
                raise Unavailable(msg) from error
            if about.error is None and about.partitions:
                counts[topic] = len(about.partitions)
        return counts

    def has_record(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a record can be read at or past `offset`.

        The end of a log counts the markers of transactions too, which nobody can apply.

        Raises:
            Unavailable: the broker does not answer, with a record or with the end of the log.
        """
        try:
            with self._lock:
                self._consumer.assign([TopicPartition(topic, partition, offset)])
                message = self._consumer.poll(_LOOK_S)
                self._consumer.unassign()
        except KafkaException as error:
            msg = f"{topic}/{partition} cannot be read at {offset}: {error.args[0].str()}"
            raise Unavailable(msg) from error
        reason = KafkaError(KafkaError._TIMED_OUT) if message is None else message.error()
        if reason is not None and reason.code() != KafkaError._PARTITION_EOF:
            msg = f"{topic}/{partition} cannot be read at {offset}: {reason.str()}"
            raise Unavailable(msg)
        # Of an offset that the log does not have the client makes the log's end.
        return message is not None and reason is None and (message.offset() or 0) >= offset

    def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        self._consumer.close()
