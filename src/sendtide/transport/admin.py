"""Topics: create them, look at them, and refuse to run on ones that differ. All calls block."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from sendtide.transport.errors import TopicMismatchError, TransportError

__all__ = ["TopicSpec", "admin_client", "compare_identities", "compare_partitions"]
__all__ += ["create_topics", "describe_topic", "partition_counts", "topic_ids", "verify_topics"]

#: Options of a producer or consumer that an admin client would warn about.
_CLIENT_ONLY = frozenset({"partitioner", "linger.ms", "enable.idempotence", "acks"})

_RETRY_S = 0.05
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_NOT_TOLD = {
    KafkaError._UNSUPPORTED_FEATURE,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be. config: broker options such as `cleanup.policy`."""

    name: str
    partitions: int
    replication: int = 1
    config: Mapping[str, str] = field(default_factory=dict)


def admin_client(config: Mapping[str, Any]) -> AdminClient:
    """A client with these options, those left out that are a producer's or a consumer's."""
    return AdminClient({key: value for key, value in config.items() if key not in _CLIENT_ONLY})


def create_topics(
    config: Mapping[str, Any], specs: Sequence[TopicSpec], timeout_s: float = 30.0
) -> list[str]:
    """Create what is missing, and wait until all can be written; return the names created.

    Raises:
        KafkaException: the broker refused for another reason than that the topic exists.
        TransportError: partitions have no leader that serves them within the timeout.
    """
    if not specs:
        return []
    new = [
        NewTopic(s.name, s.partitions, replication_factor=s.replication, config=dict(s.config))
        for s in specs
    ]
    created = []
    admin = admin_client(config)  # kept until the answers are in: they die with it
    futures = admin.create_topics(new, operation_timeout=timeout_s)
    for name, future in futures.items():
        try:
            future.result(timeout_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            created.append(name)
    _await_leaders(admin, specs, timeout_s)
    return created


def _await_leaders(admin: AdminClient, specs: Sequence[TopicSpec], timeout_s: float) -> None:
    """A topic is created before its leaders know that they are: they refuse records until then."""
    waiting = [TopicPartition(s.name, number) for s in specs for number in range(s.partitions)]
    deadline = time.monotonic() + timeout_s
    while waiting:
        left_s = max(1.0, deadline - time.monotonic())
        latest = dict.fromkeys(waiting, OffsetSpec.latest())
        answers = admin.list_offsets(latest, request_timeout=left_s)
        waiting = [place for place, answer in answers.items() if answer.exception(left_s)]
        if waiting and time.monotonic() > deadline:
            named = ", ".join(f"{place.topic}/{place.partition}" for place in waiting)
            msg = f"no broker leads {named} within {timeout_s:.0f} s; look at the brokers' logs"
            raise TransportError(msg)
        time.sleep(_RETRY_S if waiting else 0)


def partition_counts(
    config: Mapping[str, Any], topics: Iterable[str], timeout_s: float = 10.0
) -> dict[str, int]:
    """Partitions by topic; a topic the broker does not have is left out."""
    found = admin_client(config).list_topics(timeout=timeout_s).topics
    return {
        name: len(found[name].partitions)
        for name in topics
        if name in found and found[name].error is None
    }


def describe_topic(
    config: Mapping[str, Any], topic: str, timeout_s: float = 10.0
) -> dict[str, str]:
    """Broker options of a topic, as the broker states them."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = admin_client(config)
    answer = admin.describe_configs([resource], request_timeout=timeout_s)[resource]
    return {name: str(entry.value) for name, entry in answer.result(timeout_s).items()}


def topic_ids(admin: AdminClient, topics: Sequence[str], timeout_s: float) -> dict[str, str]:
    """What tells a topic from one of the same name that was made before or after it.

    Brokers have it since Kafka 2.8; topics that are missing, or have none, are left out.

    Raises:
        KafkaException: the broker does not answer.
    """
    answers = admin.describe_topics(TopicCollection(list(topics)), request_timeout=timeout_s)
    found = {}
    for topic, answer in answers.items():
        error = answer.exception(2 * timeout_s)
        if error is None:
            found[topic] = str(answer.result().topic_id)
        elif not isinstance(error, KafkaException):
            raise error
        elif error.args[0].code() not in _NOT_TOLD:
            # A new one: that one would hold this frame, and with it the client, in a cycle.
            raise KafkaException(error.args[0])
    return {topic: identity for topic, identity in found.items() if identity != _NO_ID}


def verify_topics(
    config: Mapping[str, Any], specs: Sequence[TopicSpec], timeout_s: float = 10.0
) -> None:
    """Check that every topic exists with the partitions it must have.

    Raises:
        TopicMismatchError: names every topic that is missing or differs.
    """
    found = partition_counts(config, [s.name for s in specs], timeout_s)
    compare_partitions({s.name: s.partitions for s in specs}, found)


def compare_identities(before: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Compare identities by topic, where both are known.

    Raises:
        TopicMismatchError: a topic was deleted and made again: its offsets begin anew, and those of
            new records would be taken for known.
    """
    other = [topic for topic in before.keys() & found.keys() if before[topic] != found[topic]]
    if other:
        msg = (
            f"{', '.join(sorted(other))}: not the topic that this partition's snapshot was made "
            "of, it was deleted and made again. Make topics under a new prefix and produce the log "
            "into them, or delete the snapshots to learn from what is there"
        )
        raise TopicMismatchError(msg)


def compare_partitions(wanted: Mapping[str, int], found: Mapping[str, int]) -> None:
    """Compare partitions by topic; one that is not found is missing.

    Raises:
        TopicMismatchError: names every topic that is missing or differs.
    """
    wrong = [
        f"{topic}: {found.get(topic, 'missing')}, must be {count}"
        for topic, count in wanted.items()
        if found.get(topic) != count
    ]
    if wrong:
        msg = (
            f"topics do not have the partitions they must have ({'; '.join(wrong)}); keys would "
            "change their place. Create the missing ones, recreate or repartition the others"
        )
        raise TopicMismatchError(msg)
