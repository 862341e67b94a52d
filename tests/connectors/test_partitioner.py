"""Keys go where Java producers and librdkafka send them."""

import numpy as np
import pytest
from confluent_kafka import Producer

from sendtide.connectors import murmur2, partition_of, partitions_of

JAVA_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


def test_hashes_equal_those_of_kafkas_own_test():
    """The vectors of Apache Kafka's UtilsTest.testMurmur2."""
    found = murmur2(list(JAVA_VECTORS)).astype(np.int32)

    assert dict(zip(JAVA_VECTORS, found.tolist(), strict=True)) == JAVA_VECTORS


def test_partitions_equal_those_librdkafka_chooses():
    """A librdkafka producer with murmur2_random puts 2,000 keys where we say."""
    keys = [f"client-{i % 37}:{i:032x}".encode()[: 5 + i % 45] for i in range(2_000)]
    placed = {}
    producer = Producer(
        {
            "bootstrap.servers": "mock",
            "test.mock.num.brokers": 1,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    partitions = len(producer.list_topics("placed", timeout=10).topics["placed"].partitions)
    for i, key in enumerate(keys):
        producer.produce(
            "placed",
            key=key,
            on_delivery=lambda _, message, i=i: placed.update({i: message.partition()}),
        )
    assert producer.flush(20) == 0

    assert partitions > 1
    assert [placed[i] for i in range(len(keys))] == partitions_of(keys, partitions).tolist()


def test_no_keys_and_one_key():
    """An empty list gives no partitions; one key gives the same as in a list."""
    assert partitions_of([], 8).tolist() == []
    assert partition_of(b"abc", 8) == partitions_of([b"x", b"abc"], 8)[1]


def test_a_topic_without_partitions_is_refused():
    """Zero partitions is a mistake, not a division by zero."""
    with pytest.raises(ValueError, match="at least 1"):
        partitions_of([b"abc"], 0)
