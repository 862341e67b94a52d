"""Sending batches."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Consumer, TopicPartition

from sendtide.transport import BatchProducer, DeliveryError, Record
from sendtide.transport.partitioner import partition_of

from .conftest import records, until


def stored(broker, topic: str, partition: int) -> list:
    """All messages of a partition, read back."""
    client = Consumer({**broker.config, "group.id": "reader", "enable.partition.eof": True})
    client.assign([TopicPartition(topic, partition, 0)])
    messages = []
    while True:
        message = client.poll(10)
        assert message is not None
        if message.error() is not None:
            break
        messages.append(message)
    client.close()
    return messages


def sending(broker, work, **limits):
    """Run `work(producer)` with a started producer, then stop it."""

    async def run():
        config = {**broker.config, "partitioner": "murmur2_random", "linger.ms": 5}
        producer = BatchProducer(config, **limits)
        producer.start()
        try:
            return await work(producer)
        finally:
            await producer.stop()

    return asyncio.run(run())


def test_a_batch_is_stored_in_order_with_all_that_it_carries(broker):
    """Keys, values, headers, timestamps and explicit partitions arrive as they were given."""
    topic = broker.topic(2)
    batch = [
        Record(b"a", b"k", 1, 1_700_000_000_123, [("h", b"1"), ("none", None)]),
        Record(None, b"k", 1, 1_700_000_000_124),
        *[Record(b"%d" % n, None, 1) for n in range(2_500)],
    ]

    async def work(producer):
        delivery = await producer.send(topic, batch)
        await delivery.delivered()
        assert delivery.done()
        assert producer.outstanding == (0, 0)

    sending(broker, work)
    found = stored(broker, topic, 1)
    assert [m.value() for m in found] == [r.value for r in batch]
    assert found[0].key() == b"k"
    assert found[0].timestamp()[1] == 1_700_000_000_123
    assert [h[0] for h in found[0].headers()] == ["h", "none"]
    assert found[1].timestamp()[1] == 1_700_000_000_124


def test_plain_records_are_partitioned_by_key_and_keep_their_order(broker):
    """What goes to the client in one call lands where the Java client's partitioner has it."""
    topic = broker.topic(3)
    batch = [Record(b"%d" % n, b"key-%d" % (n % 7)) for n in range(2_500)]

    async def work(producer):
        await (await producer.send(topic, batch)).delivered()

    sending(broker, work)
    for partition in range(3):
        mine = [r.value for r in batch if partition_of(r.key, 3) == partition]
        assert [m.value() for m in stored(broker, topic, partition)] == mine


def test_outstanding_work_is_bounded_and_senders_wait(broker):
    """Many batches larger than the limit together all arrive; the limit is never passed."""
    topic = broker.topic(1)
    most = []

    async def work(producer):
        async def watch():
            while True:
                most.append(producer.outstanding)
                await asyncio.sleep(0)

        watcher = asyncio.ensure_future(watch())
        sent = await asyncio.gather(*(producer.send(topic, records(900)) for _ in range(10)))
        for delivery in sent:
            await delivery.delivered()
        watcher.cancel()

    sending(broker, work, max_records=200, max_bytes=100_000)
    assert max(r for r, _ in most) <= 200
    assert max(r for r, _ in most) > 100
    assert len(stored(broker, topic, 0)) == 9_000


def test_a_record_that_can_never_be_sent_fails_its_batch_only(broker):
    """The error counts the refused records and quotes the reason; the others are stored."""
    topic = broker.topic(1)

    async def work(producer):
        bad = await producer.send(topic, [Record(b"x"), Record(b"y" * 2_000_000), Record(b"z")])
        good = await producer.send(topic, records(3))
        with pytest.raises(DeliveryError, match="1 of 3 records") as error:
            await bad.delivered()
        assert error.value.failed == 1
        await good.delivered()
        await producer.flush()  # the failure was seen by whoever awaited it

    sending(broker, work)
    assert [m.value() for m in stored(broker, topic, 0)] == [b"x", b"z", b"v0", b"v1", b"v2"]


def test_a_failure_nobody_awaited_fails_the_flush(broker):
    """So an offset cannot be committed past an output that was lost; the next flush is clean."""

    async def work(producer):
        await producer.send(broker.topic(1), [Record(b"y" * 2_000_000)])
        with pytest.raises(DeliveryError, match="1 records were not delivered"):
            await producer.flush()
        await producer.flush()

    sending(broker, work)


def test_an_unreachable_broker_fails_the_delivery_in_time():
    """Nothing hangs: the message timeout ends the wait, and flush says what is unconfirmed."""

    async def run():
        config = {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 600, "log_level": 0}
        producer = BatchProducer(config)
        producer.start()
        delivery = await producer.send("t", records(2))
        with pytest.raises(TimeoutError, match="2 records were not confirmed"):
            await producer.flush(0.05)
        with pytest.raises(DeliveryError, match="2 of 2"):
            await delivery.delivered()
        await producer.stop()

    asyncio.run(run())


def test_an_empty_batch_is_delivered_at_once(broker):
    """Nothing to send is no special case for callers."""

    async def work(producer):
        await (await producer.send("anything", [])).delivered()
        await until(lambda: producer.outstanding == (0, 0), "nothing outstanding")

    sending(broker, work)
