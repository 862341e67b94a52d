"""Records produced past confluent-kafka are those that it would have produced."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from sendtide.transport import BinaryColumn, KeyedRecords, partition_of
from sendtide.transport.produce_columns import produce_columns
from sendtide.transport.records import as_batch, sizes

KEYS = [b"k%d" % (n % 40) for n in range(600)]
VALUES = [None if n % 7 == 3 else b"v" * (n % 90) for n in range(600)]


def keyed(keys, values):
    return KeyedRecords(BinaryColumn.of(values), BinaryColumn.of(keys))


def client_of(broker, **settings):
    return Producer({**broker.config, "partitioner": "murmur2_random", **settings})


def stored(broker, topic, partitions, count):
    """(key, value) of each partition, in order."""
    reader = Consumer({**broker.config, "group.id": "reads"})
    reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found = {number: [] for number in range(partitions)}
    for _ in range(count):
        message = reader.poll(20.0)
        assert message is not None, f"{count} records are not there"
        assert message.error() is None
        found[message.partition()].append((message.key(), message.value()))
    reader.close()
    return found


def test_columns_are_stored_as_their_rows(broker):
    """Each in its key's partition, in order, nulls as nulls; parts of a column as well."""
    topic, client, records = broker.topic(3), client_of(broker), keyed(KEYS, VALUES)
    produce_columns(client, topic, records[:250])
    produce_columns(client, topic, records[250:])
    produce_columns(client, topic, records[600:])  # none
    del records  # copied by then
    assert client.flush(20) == 0
    expected = {number: [] for number in range(3)}
    for key, value in zip(KEYS, VALUES, strict=True):
        expected[partition_of(key, 3)].append((key, value))
    assert stored(broker, topic, 3, 600) == expected


def test_a_record_that_is_refused_says_why(broker):
    """Too large for the client; those beside it are queued."""
    topic, client = broker.topic(1), client_of(broker, **{"message.max.bytes": 2_000})
    with pytest.raises(KafkaException) as refusal:
        produce_columns(client, topic, keyed([b"a", b"b", b"c"], [b"1", b"2" * 9_000, b"3"]))
    assert refusal.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert client.flush(20) == 0
    assert stored(broker, topic, 1, 2) == {0: [(b"a", b"1"), (b"c", b"3")]}


def test_a_name_that_no_topic_can_have_is_refused(broker):
    """By the client itself, whatever the broker."""
    with pytest.raises(KafkaException) as refusal:
        produce_columns(client_of(broker), "x" * 600, keyed([b"a"], [b"1"]))
    assert refusal.value.args[0].code() == KafkaError._INVALID_ARG


def test_keyed_records_are_a_list_of_records():
    """Sizes and rows as the other way to produce them takes them."""
    records = keyed(KEYS, VALUES)
    rows = [(record.key, record.value) for record in records]
    assert rows == list(zip(KEYS, VALUES, strict=True))
    assert (records[5].key, records[-1].value) == (KEYS[5], VALUES[-1])
    assert sizes(records[10:20]).tolist() == [
        len(key) + len(value or b"") for key, value in rows[10:20]
    ]
    with pytest.raises(ValueError, match="a step of 2"):
        records[::2]
    with pytest.raises(ValueError, match="3 values, and 1 keys"):
        keyed([b"k"], [b"1", b"2", b"3"])
    assert as_batch(records[:2]) == [{"value": v, "key": k} for k, v in rows[:2]]
