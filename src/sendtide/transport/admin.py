"""Creates and verifies topics; a worker refuses to run on topics that are not as declared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

__all__ = ["BrokerUnreachable", "TopicMismatch", "TopicSpec", "create_topics", "partition_counts"]
__all__ += ["verify_topics"]

_TIMEOUT_S: Final = 15.0


class TopicMismatch(Exception):  # noqa: N818
    """A topic is missing or has another partition count than declared."""


class BrokerUnreachable(Exception):  # noqa: N818
    """No broker answered in time."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be; replication -1 is the broker's default."""

    name: str
    partitions: int
    replication: int = -1
    config: Mapping[str, str] = field(default_factory=dict)


def partition_counts(settings: Mapping[str, Any]) -> dict[str, int]:
    """Topic name to partition count of all topics on the broker.

    Raises:
        BrokerUnreachable: with the address tried.
    """
    admin = AdminClient({**settings, "log_level": 0})
    try:
        topics = admin.list_topics(timeout=_TIMEOUT_S).topics
    except KafkaException as error:
        msg = (
            f"no Kafka broker answers at {settings.get('bootstrap.servers')!r} "
            f"({error.args[0].str()}); check the address and that the broker runs"
        )
        raise BrokerUnreachable(msg) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def create_topics(settings: Mapping[str, Any], topics: Sequence[TopicSpec]) -> list[str]:
    """Create those of `topics` that are missing; return their names.

    Raises:
        BrokerUnreachable, KafkaException: no answer, or the broker refused (e.g. by its ACLs).
    """
    present = partition_counts(settings)
    missing = [t for t in topics if t.name not in present]
    if not missing:
        return []
    admin = AdminClient({**settings, "log_level": 0})
    requests = [
        NewTopic(t.name, t.partitions, t.replication, config=dict(t.config)) for t in missing
    ]
    for future in admin.create_topics(requests, operation_timeout=_TIMEOUT_S).values():
        try:
            future.result(_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return [t.name for t in missing]


def verify_topics(settings: Mapping[str, Any], topics: Sequence[TopicSpec]) -> None:
    """Check that all `topics` are there with their partition count.

    Raises:
        TopicMismatch: names every topic that is not as declared, and what to do.
    """
    present = partition_counts(settings)
    wrong = [
        f"{t.name} has {present.get(t.name, 0)} partitions, declared are {t.partitions}"
        for t in topics
        if present.get(t.name) != t.partitions
    ]
    if wrong:
        msg = (
            f"{'; '.join(wrong)}. A key would meet its history in the wrong partition: create the "
            "missing topics, or set `topics.partitions` of the pipeline file to what is there"
        )
        raise TopicMismatch(msg)
