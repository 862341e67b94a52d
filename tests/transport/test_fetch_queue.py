"""Records fetched past confluent-kafka's messages are those that its messages hold."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from sendtide.transport import ConfigurationError
from sendtide.transport.fetch_queue import FetchQueue
from sendtide.transport.librdkafka import handle_of


@contextmanager
def fetching(broker, told=None, **settings):
    """A consumer and the queue of what is taken over from it; `told` of the client's errors."""
    told = [] if told is None else told
    consumer = Consumer({**broker.config, "group.id": "fetches", **settings})
    queue = FetchQueue(consumer, told.append)
    yield consumer, queue
    queue.close()


def gathered(consumer, queue, count, timeout_s=20.0):
    """Batches by partition until there are so many records; nothing comes another way."""
    found, deadline = defaultdict(list), time.monotonic() + timeout_s
    while sum(len(batch) for batches in found.values() for batch in batches) < count:
        assert time.monotonic() < deadline, f"{count} records do not come"
        assert consumer.consume(100, 0) == []
        queue.gather(1_000, 0.01)
        batches, errors = queue.take()
        assert errors == []
        for place, batch in batches:
            found[place].append(batch)
    return found


def stored(broker, topic, count):
    """Records of three partitions with all kinds of keys and values; what a reader is to find."""
    producer, expected = Producer(broker.config), defaultdict(list)
    for n in range(count):
        key, value = [None, b"", b"k%d" % n][n % 3], [b"v" * n, None, b""][n % 4 % 3]
        producer.produce(topic, value, key, partition=n % 3, timestamp=1_700_000_000_000 + n)
        expected[topic, n % 3].append((key, value, 1_700_000_000_000 + n))
    assert producer.flush(20) == 0
    return expected


def test_columns_hold_what_was_stored(broker):
    """Two topics of three partitions: keys, values, nulls, timestamps and offsets, in order."""
    topics = [broker.topic(3), broker.topic(3)]
    expected = stored(broker, topics[0], 400) | stored(broker, topics[1], 400)
    with fetching(broker) as (consumer, queue):
        queue.take_over(expected)
        consumer.assign([TopicPartition(*place, 0) for place in expected])
        found = gathered(consumer, queue, 800)
    for place, batches in found.items():
        rows = [
            row
            for batch in batches
            for row in zip(batch.keys, batch.values, batch.timestamps_ms.tolist(), strict=True)
        ]
        assert rows == expected[place]
        offsets = [offset for batch in batches for offset in batch.offsets.tolist()]
        assert offsets == list(range(len(rows)))


def test_what_is_not_taken_over_stays_with_the_consumer(broker):
    """One client, two ways: each record comes by one of them."""
    topic = broker.topic(2)
    broker.fill(topic, {0: [b"column"] * 50, 1: [b"message"] * 50})
    with fetching(broker) as (consumer, queue):
        queue.take_over([(topic, 0)])
        consumer.assign([TopicPartition(topic, n, 0) for n in range(2)])
        messages, batches, deadline = [], [], time.monotonic() + 20
        while len(messages) + sum(map(len, batches)) < 100 and time.monotonic() < deadline:
            messages += consumer.consume(100, 0.01)
            queue.gather(100, 0.01)
            batches += [batch for _, batch in queue.take()[0]]
    assert [message.value() for message in messages] == [b"message"] * 50
    assert [value for batch in batches for value in batch.values] == [b"column"] * 50


def test_a_partition_is_sought_paused_and_taken_again(broker):
    """After a seek nothing of before comes, and a second assignment is fetched here too."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"%d" % n for n in range(300)]})
    with fetching(broker) as (consumer, queue):
        place = TopicPartition(topic, 0, 0)
        queue.take_over([(topic, 0)])
        consumer.incremental_assign([place])
        assert list(gathered(consumer, queue, 300)[topic, 0][0].values)[:2] == [b"0", b"1"]
        consumer.pause([place])
        consumer.seek(TopicPartition(topic, 0, 250))
        assert not queue.gather(1, 0.3)
        consumer.resume([place])
        assert gathered(consumer, queue, 50)[topic, 0][0].first_offset == 250
        consumer.incremental_unassign([place])
        queue.take_over([(topic, 0)])
        consumer.incremental_assign([TopicPartition(topic, 0, 290)])
        assert gathered(consumer, queue, 10)[topic, 0][0].first_offset == 290


def test_an_error_of_a_partition_comes_with_its_name_and_beside_records(broker):
    """The end of the log is the one that any broker has."""
    topic = broker.topic(2)
    broker.fill(topic, {1: [b"x"] * 30})
    with fetching(broker, **{"enable.partition.eof": True}) as (consumer, queue):
        queue.take_over([(topic, 1)])
        consumer.assign([TopicPartition(topic, 1, 0)])
        batches, errors, deadline = [], [], time.monotonic() + 20
        while not errors and time.monotonic() < deadline:
            assert consumer.consume(10, 0) == []
            queue.gather(100, 0.2)
            found, failed = queue.take()
            batches, errors = batches + found, errors + failed
    ((place, error),) = errors
    assert (place, error.code()) == ((topic, 1), KafkaError._PARTITION_EOF)
    assert [(place, len(batch)) for place, batch in batches] == [((topic, 1), 30)]


def test_an_error_of_the_client_comes_with_records_and_ends_nothing(broker):
    """A partition that is not there: told of from within `gather`, and the others go on."""
    topic, told = broker.topic(1), []
    broker.fill(topic, {0: [b"x"] * 30})
    with fetching(broker, told) as (consumer, queue):
        queue.take_over([(topic, 0), (topic, 99)])
        consumer.assign([TopicPartition(topic, n, 0) for n in (0, 99)])
        gathered(consumer, queue, 30)
        deadline = time.monotonic() + 20
        while not told and time.monotonic() < deadline:
            assert not queue.gather(10, 0.05)
    assert {error.code() for error in told} == {KafkaError._UNKNOWN_PARTITION}
    assert not any(error.fatal() for error in told)


def test_what_was_gathered_of_a_partition_is_forgotten_and_the_rest_is_kept(broker):
    """Taken away, or sought: what comes after begins anew."""
    topic = broker.topic(2)
    broker.fill(topic, {0: [b"gone"] * 40, 1: [b"kept"] * 40})
    with fetching(broker) as (consumer, queue):
        queue.take_over([(topic, 0), (topic, 1)])
        consumer.assign([TopicPartition(topic, n, 0) for n in range(2)])
        deadline = time.monotonic() + 20
        while not queue.gather(80, 0.05):
            assert consumer.consume(10, 0) == []
            assert time.monotonic() < deadline
        queue.forget({(topic, 0)})
        ((place, batch),), errors = queue.take()
        assert (place, list(batch.values), errors) == ((topic, 1), [b"kept"] * 40, [])
        consumer.seek(TopicPartition(topic, 0, 10))
        assert gathered(consumer, queue, 30)[topic, 0][0].first_offset == 10


def test_a_queue_that_is_full_is_closed_all_the_same(broker):
    """Records fetched ahead and gathered, and nobody takes them: no hang, and another may come."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"x" * 1_000] * 2_000})
    for _ in range(3):
        with fetching(broker) as (consumer, queue):
            queue.take_over([(topic, 0)])
            consumer.assign([TopicPartition(topic, 0, 0)])
            deadline = time.monotonic() + 20
            while not queue.gather(500, 0.05):
                assert consumer.consume(10, 0) == []
                assert time.monotonic() < deadline


def test_a_client_that_is_closed_has_no_handle(broker):
    """Nothing of the library is called on it."""
    consumer = Consumer({**broker.config, "group.id": "closed"})
    assert handle_of(consumer)
    consumer.close()
    with pytest.raises(ConfigurationError, match="the lock file names"):
        handle_of(consumer)
