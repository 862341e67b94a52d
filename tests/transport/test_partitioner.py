"""Where keys go."""

from __future__ import annotations

from confluent_kafka import Producer

from sendtide.transport.partitioner import murmur2, partition_of


def test_murmur2_equals_the_java_clients_own_test_vectors():
    """Vectors of org.apache.kafka.common.utils.UtilsTest, as unsigned numbers."""
    expected = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {key: murmur2(key) for key in expected} == {
        key: value & 0xFFFFFFFF for key, value in expected.items()
    }


def test_partitions_equal_librdkafkas(broker):
    """Keys of every length up to 20 go where murmur2_random puts them."""
    topic = broker.topic(partitions=7)
    producer = Producer({**broker.config, "partitioner": "murmur2_random"})
    landed = {}

    def stored(error, message):
        assert error is None
        landed[message.key()] = message.partition()

    for n in range(200):
        key = bytes((n * 37 + i * 11) % 256 for i in range(1 + n % 20))
        producer.produce(topic, b"", key, on_delivery=stored)
    assert producer.flush(10) == 0
    assert landed == {key: partition_of(key, 7) for key in landed}
    assert len(set(landed.values())) == 7
