"""A worker that asks where to begin gets an answer or an error, and never a guess."""

from __future__ import annotations

import gc
import threading
import time
from uuid import uuid4

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from sendtide.events.errors import Unavailable
from sendtide.stages.offsets import OffsetLookup
from sendtide.transport import TopicSpec, create_topics


def test_a_partition_that_nobody_knows_yet_is_asked_for_again(kafka_bootstrap):
    """As of a broker that has just come back; its worker does not end for that."""
    settings, topic = {"bootstrap.servers": kafka_bootstrap}, f"late-{uuid4().hex}"
    lookup = OffsetLookup(settings, "late", patience_s=30.0)
    later = threading.Timer(1.5, create_topics, ([settings, [TopicSpec(topic, 1)]]))
    later.start()
    assert lookup.log([(topic, 0)]) == {topic: (0, 0)}
    later.join()
    lookup.close()


def test_it_is_not_asked_for_for_ever(kafka_bootstrap):
    """The error says what was asked for."""
    lookup = OffsetLookup({"bootstrap.servers": kafka_bootstrap}, "never", patience_s=1.0)
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
    lookup = OffsetLookup(settings, group, patience_s=30.0)
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


def test_a_closed_one_says_that_the_worker_ends(kafka_bootstrap):
    """Whoever still waits for an answer is not told of a client's inner state."""
    lookup = OffsetLookup({"bootstrap.servers": kafka_bootstrap}, "closed", patience_s=30.0)
    lookup.close()
    for ask in (lookup.committed, lookup.log):
        with pytest.raises(Unavailable, match="this worker ends"):
            ask([("topic", 0)])


def test_clients_that_had_no_answer_are_let_go():
    """Threads of those asked in vain are ended at once, not when the collector comes by."""
    lookup = OffsetLookup({"bootstrap.servers": "127.0.0.1:9"}, "nobody")
    counts = []
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(Unavailable):
                lookup.identities(["topic"])
            counts.append(len(psutil.Process().threads()))
    finally:
        gc.enable()
        lookup.close()
    assert counts[-1] <= counts[0] + 2
