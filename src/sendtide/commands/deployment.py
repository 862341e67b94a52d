"""Topics as a pipeline wants them, on the broker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from sendtide.commands.options import KafkaServers
from sendtide.events.errors import Unavailable
from sendtide.events.topics import DEAD_LETTERS, TOPICS, Topic
from sendtide.pipeline import Pipeline
from sendtide.transport import TopicSpec, create_topics, verify_topics

__all__ = ["check_reachable", "create_missing", "delete_topics", "topic_specs"]

_ANSWER_S = 5.0


def topic_specs(pipeline: Pipeline, chosen: Iterable[Topic] = TOPICS) -> list[TopicSpec]:
    """What each topic must be."""
    return [
        TopicSpec(
            pipeline.topics.full_name(topic),
            pipeline.topics.partitions_of(topic),
            pipeline.topics.replication,
            _broker_options(pipeline, topic),
        )
        for topic in chosen
    ]


def _broker_options(pipeline: Pipeline, topic: Topic) -> dict[str, str]:
    if topic.cleanup == "compact":
        return {"cleanup.policy": "compact"}
    letters = topic is DEAD_LETTERS
    topics = pipeline.topics
    kept_ms = topics.dead_letter_retention_ms if letters else topics.retention_ms
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(kept_ms),
        # Kept from arrival on: by its own old times, an archive being replayed would be deleted
        # before it is read. The gate also judges the future by a clock no producer can set.
        "message.timestamp.type": "LogAppendTime",
    }


def delete_topics(servers: KafkaServers, specs: Sequence[TopicSpec]) -> None:
    """Delete topics that were made for one run only; what cannot be deleted stays."""
    admin = AdminClient(servers.client())
    for future in admin.delete_topics([s.name for s in specs], operation_timeout=10).values():
        with suppress(KafkaException):
            future.result(10)


def check_reachable(servers: KafkaServers) -> int:
    """Number of brokers that the first one answers with.

    Raises:
        Unavailable: none answers within a few seconds.
    """
    try:
        return len(AdminClient(servers.client()).list_topics(timeout=_ANSWER_S).brokers)
    except KafkaException as error:
        msg = (
            f"Kafka at {servers.brokers} does not answer within {_ANSWER_S:.0f} s "
            f"({error.args[0].str()}); check that it runs, and TLS and SASL in --kafka-config"
        )
        raise Unavailable(msg) from error


def create_missing(servers: KafkaServers, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that are missing, then check all; return the names created.

    Raises:
        Unavailable: the broker does not answer. TopicMismatchError: one is there, but differs.
    """
    check_reachable(servers)
    created = create_topics(servers.client(), specs)
    verify_topics(servers.client(), specs)
    return created
