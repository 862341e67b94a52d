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
from confluent_kafka.admin import AdminClient, TopicMetadata

from sendtide.events.errors import Unavailable
from sendtide.transport import admin_client, topic_ids

__all__ = ["OffsetLookup"]

Answer = TypeVar("Answer")

_LOOK_S: Final = 5.0
_PAUSE_S: Final = 0.5

_FOR_GOOD: Final = {
    KafkaError._AUTHENTICATION,
    KafkaError._INVALID_ARG,
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_VERSION,
}
"""What asking again does not change."""


class OffsetLookup:
    """A client that never joins the group it asks about. Blocks; call it in a thread.

    patience_s: how long it asks again where there is no answer; at 0 once, and the next question
        is asked by a new client.
    """

    def __init__(self, settings: Mapping[str, str], group: str, patience_s: float = 0.0) -> None:
        self._patience_s = patience_s
        self._settings = settings
        own = {"group.id": group, "enable.auto.commit": False, "enable.partition.eof": True}
        self._own = {**settings, **own, "isolation.level": "read_committed"}
        self._closed = False
        self._lock = threading.Lock()  # partitions recover side by side, this client asks in turn
        self._admin, self._consumer = self._clients()

    def _clients(self) -> tuple[AdminClient, Consumer]:
        return admin_client(self._settings), Consumer(self._own)

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
        """Ask until there is an answer, for as long as there is patience."""
        deadline = None
        while True:
            with self._lock:
                if self._closed:
                    msg = f"cannot read {what}: this worker ends"
                    raise Unavailable(msg)
                deadline = deadline or time.monotonic() + self._patience_s  # others asked before
                try:
                    return ask()
                except KafkaException as error:
                    reason: KafkaError = error.args[0]
                self._begin_anew()
            if reason.code() in _FOR_GOOD or time.monotonic() >= deadline:
                msg = f"cannot read {what}: {reason.str()}"
                raise Unavailable(msg)
            time.sleep(_PAUSE_S)

    def _begin_anew(self) -> None:
        try:
            admin, consumer = self._clients()
        except KafkaException:
            return  # a file of keys is being changed, or there is no room: the old ones go on
        self._consumer.close()
        self._admin, self._consumer = admin, consumer

    def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """Number of partitions by topic, of those that exist.

        Raises:
            Unavailable: the broker does not answer.
        """
        counts = {}
        for topic in topics:
            about = self._answer(f"the partitions of {topic}", partial(self._about, topic))
            if about.error is None and about.partitions:
                counts[topic] = len(about.partitions)
        return counts

    def _about(self, topic: str) -> TopicMetadata:
        found: TopicMetadata = self._consumer.list_topics(topic, timeout=_LOOK_S).topics[topic]
        return found

    def has_record(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a record can be read at or past `offset`.

        The end of a log counts the markers of transactions too, which nobody can apply.

        Raises:
            Unavailable: the broker does not answer, with a record or with the end of the log.
        """
        place = TopicPartition(topic, partition, offset)
        found = self._answer(f"{topic}/{partition} at {offset}", lambda: self._first(place))
        # Of an offset that the log does not have the client makes the log's end.
        return found is not None and found >= offset

    def _first(self, place: TopicPartition) -> int | None:
        """Offset of the first record from a place on; None at the end of the log."""
        self._consumer.assign([place])
        message = self._consumer.poll(_LOOK_S)
        self._consumer.unassign()
        error = KafkaError(KafkaError._TIMED_OUT) if message is None else message.error()
        if message is None or (error and error.code() != KafkaError._PARTITION_EOF):
            raise KafkaException(error)
        return None if error else message.offset()

    def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        with self._lock:
            self._consumer.close()
