"""A worker that asks where to begin gets an answer or an error, and never a guess."""

from __future__ import annotations

import threading
import time
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from sendtide.events.errors import Unavailable
from sendtide.stages import offsets
from sendtide.stages.offsets import OffsetLookup
from sendtide.transport import TopicSpec, create_topics


def test_a_partition_that_nobody_knows_yet_is_asked_for_again(kafka_bootstrap):
    """As of a broker that has just come back; its worker does not end for that."""
    settings, topic = {"bootstrap.servers": kafka_bootstrap}, f"late-{uuid4().hex}"
    lookup = OffsetLookup(settings, "late")
    later = threading.Timer(1.5, create_topics, ([settings, [TopicSpec(topic, 1)]]))
    later.start()
    assert lookup.log([(topic, 0)]) == {topic: (0, 0)}
    later.join()
    lookup.close()


def test_it_is_not_asked_for_for_ever(kafka_bootstrap, monkeypatch):
    """The error says what was asked for."""
    monkeypatch.setattr(offsets, "_PATIENCE_S", 1.0)
    lookup = OffsetLookup({"bootstrap.servers": kafka_bootstrap}, "never")
    with pytest.raises(Unavailable, match="cannot read the range of missing/0"):
        lookup.log([("missing", 0)])
    lookup.close()


def test_offsets_of_an_open_transaction_are_waited_for(apache_kafka):
    """What it moves may be stored or not: to take the offset before it would repeat its outputs."""
    settings, group = {"bootstrap.servers": apache_kafka}, f"open-{uuid4().hex}"
    topic = f"{group}-topic"
    create_topics(settings, [TopicSpec(topic, 1)])
    client = Producer({**settings, "transactional.id": group})
    client.init_transactions(30)
    member = Consumer({**settings, "group.id": group})
    lookup = OffsetLookup(settings, group)
    assert lookup.committed([(topic, 0)]) == {}

    client.begin_transaction()
    client.produce(topic, b"x")
    place = TopicPartition(topic, 0, 1)
    client.send_offsets_to_transaction([place], member.consumer_group_metadata(), 30)
    ended = []

    def end():
        time.sleep(1.5)
        ended.append(True)
        client.commit_transaction(30)

    later = threading.Thread(target=end)
    later.start()
    assert lookup.committed([(topic, 0)]) == {topic: 1}
    assert ended
    later.join()
    member.close()
    lookup.close()
