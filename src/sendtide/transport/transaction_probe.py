"""Whether a broker has transactions that hold, found out by using them.

Version numbers would not do: a broker may answer every request of the protocol and still show the
records of an aborted transaction to readers that asked for committed ones only (the embedded broker
does). So one record is aborted and one committed on a small topic of its own, and read back. That
the broker refuses offsets of a past generation (KIP-447; Apache Kafka from 2.5 on) is not probed:
it would take two members and a rebalance.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as Position

from sendtide.transport.admin import TopicSpec, create_topics
from sendtide.transport.errors import TransportError
from sendtide.transport.transactional_client import patiently

__all__ = ["probe_transactions"]

_log = logging.getLogger(__name__)

_ANSWER_S: Final = 30.0


def probe_transactions(config: Mapping[str, Any], topic: str) -> str:
    """Return why transactions cannot be relied on; "" if they can. Blocks for a second or so.

    Args:
        config: of the clients.
        topic: created if absent, with one partition; holds nothing of use.
    """
    quiet = {"log_level": 2, **config}
    try:
        retention = {"retention.ms": "60000"}
        create_topics(quiet, [TopicSpec(topic, 1, -1, retention)])
        return _round_trip(quiet, topic)
    except KafkaException as error:
        return f"the broker refuses: {error.args[0].str()}"
    except TransportError as error:
        return str(error)


def _round_trip(config: Mapping[str, Any], topic: str) -> str:
    name = f"probe-{uuid.uuid4().hex}"
    producer = Producer({**config, "transactional.id": name}, logger=_log)
    patiently(producer.init_transactions)
    where: list[int] = []

    def note(_: Any, message: Message) -> None:
        where.append(message.offset() or 0)

    producer.begin_transaction()
    producer.produce(topic, f"{name} aborted".encode(), partition=0, on_delivery=note)
    if producer.flush(_ANSWER_S) or not where:
        return "a record in a transaction is not stored"
    patiently(producer.abort_transaction)
    producer.begin_transaction()
    producer.produce(topic, f"{name} committed".encode(), partition=0)
    patiently(producer.commit_transaction)
    seen = _read(config, topic, name, where[0])
    if f"{name} aborted" in seen:
        return "readers of committed records are given those of an aborted transaction"
    return "" if f"{name} committed" in seen else "a committed record is not given to readers"


def _read(config: Mapping[str, Any], topic: str, name: str, start: int) -> list[str]:
    """What a reader of committed records sees of this probe, until its last record."""
    reader = Consumer({**config, "group.id": name, "isolation.level": "read_committed"})
    seen: list[str] = []
    try:
        reader.assign([Position(topic, 0, start)])
        deadline = time.monotonic() + _ANSWER_S
        while f"{name} committed" not in seen and time.monotonic() < deadline:
            message = reader.poll(0.5)
            if message is not None and message.error() is None:
                seen.append((message.value() or b"").decode("ascii", "replace"))
    finally:
        reader.close()
    return seen
