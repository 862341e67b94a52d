"""Creating and verifying topics."""

from __future__ import annotations

from uuid import uuid4

import pytest
from confluent_kafka import Producer

from sendtide.transport import (
    TopicMismatchError,
    TopicSpec,
    create_topics,
    partition_counts,
    verify_topics,
)
from sendtide.transport.admin import describe_topic


def test_creating_twice_creates_once(broker):
    """An existing topic is left as it is and not reported as created."""
    name = broker.topic(3)
    spec = TopicSpec(name, 3)
    assert create_topics(broker.config, [spec]) == []
    fresh = TopicSpec(f"{name}-fresh", 2)
    assert create_topics(broker.config, [spec, fresh]) == [fresh.name]
    assert partition_counts(broker.config, [name, fresh.name, "no-such-topic-here"]) == {
        name: 3,
        fresh.name: 2,
    }


def test_a_mismatch_names_every_topic_that_is_wrong(broker):
    """Missing and wrongly partitioned topics stop the application with one message."""
    right, wrong = broker.topic(2), broker.topic(3)
    verify_topics(broker.config, [TopicSpec(right, 2), TopicSpec(wrong, 3)])
    with pytest.raises(TopicMismatchError) as error:
        verify_topics(
            broker.config, [TopicSpec(right, 2), TopicSpec(wrong, 8), TopicSpec("absent-topic", 1)]
        )
    assert right not in str(error.value)
    assert f"{wrong}: 3, must be 8" in str(error.value)
    assert "absent-topic: missing" in str(error.value)


def test_options_of_a_topic_are_what_it_was_created_with(broker):
    """A compacted topic says so."""
    name = broker.topic(1, **{"cleanup.policy": "compact"})
    assert describe_topic(broker.config, name)["cleanup.policy"] == "compact"


@pytest.mark.kafka
def test_a_new_topic_takes_records_at_once(apache_kafka):
    """Apache Kafka creates a topic before its leaders serve it: no record may be refused then."""
    config, refused = {"bootstrap.servers": apache_kafka}, []
    producer = Producer({**config, "retries": 0, "linger.ms": 0})
    producer.list_topics(timeout=10)  # connected: it begins as soon as the topic is there
    specs = [TopicSpec(f"at-once-{uuid4().hex}", 100) for _ in range(4)]
    create_topics(config, specs)
    verify_topics(config, specs)
    for number in range(100):
        for spec in reversed(specs):
            producer.produce(
                spec.name, b"x", partition=number, on_delivery=lambda e, _: refused.append(e)
            )
    assert producer.flush(30) == 0
    assert len(refused) == 400
    assert set(refused) == {None}
