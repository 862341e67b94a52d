"""Without transactions: all of a round is stored before any of it counts, in order."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from sendtide.transport import DeliveryError, Record, Tenure, WithdrawnError
from sendtide.transport.at_least_once import AtLeastOnceWriter
from sendtide.transport.deliveries import BatchProducer


def stored(broker, topic, count):
    """Values of a topic of one partition, in order, once there are so many."""
    reader = Consumer({**broker.config, "group.id": "reader", "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = reader.consume(count, 20.0)
    found += reader.consume(1, 0.3)
    reader.close()
    return [message.value() for message in found]


def play(scenario, config, interval_s=0.01):
    """Run with a writer and the producer behind it."""

    async def run():
        producer = BatchProducer(config)
        producer.start()
        writer = AtLeastOnceWriter(producer, interval_s=interval_s)
        await writer.start()
        try:
            return await scenario(writer)
        finally:
            await writer.stop()
            await producer.stop(5.0)

    return asyncio.run(run())


def test_works_are_stored_in_order_and_together(broker):
    """What is queued while a round waits goes out in one; `write` returns when it is there."""
    topic = broker.topic(1)

    async def scenario(writer):
        tenure = Tenure()
        works = [writer.write({topic: [Record(b"%d" % n)]}, tenure, {}) for n in range(50)]
        await asyncio.gather(*works)
        await writer.write({}, tenure)

    play(scenario, broker.config)
    assert stored(broker, topic, 50) == [b"%d" % n for n in range(50)]


def test_a_unit_that_was_taken_away_writes_nothing(broker):
    """Its works are withdrawn, those of others of the round are stored."""
    topic, gone = broker.topic(1), Tenure()

    async def scenario(writer):
        lost = asyncio.ensure_future(writer.write({topic: [Record(b"lost")]}, gone))
        kept = asyncio.ensure_future(writer.write({topic: [Record(b"kept")]}, Tenure()))
        gone.over = True
        await kept
        with pytest.raises(WithdrawnError):
            await lost

    play(scenario, broker.config, interval_s=0.2)
    assert stored(broker, topic, 1) == [b"kept"]


def test_what_cannot_be_stored_fails_all_of_its_round(broker):
    """None of it is acknowledged, and the next round is not held up."""
    topic = broker.topic(1)
    large = Record(bytes(2_000_000))

    async def scenario(writer):
        works = [
            asyncio.ensure_future(writer.write({topic: [record]}, Tenure()))
            for record in (Record(b"1"), large)
        ]
        found = await asyncio.gather(*works, return_exceptions=True)
        assert all(isinstance(error, DeliveryError) for error in found)
        await writer.write({topic: [Record(b"2")]}, Tenure())

    play(scenario, broker.config, interval_s=0.2)
    assert stored(broker, topic, 2) == [b"1", b"2"]


def test_what_is_queued_when_it_stops_is_withdrawn(broker):
    """Nobody waits for ever, and nothing is acknowledged that was not stored."""

    async def scenario(writer):
        await writer.write({}, Tenure())
        work = asyncio.ensure_future(writer.write({broker.topic(1): [Record(b"1")]}, Tenure()))
        await asyncio.sleep(0)
        await writer.stop()
        with pytest.raises(WithdrawnError):
            await work

    play(scenario, broker.config, interval_s=30.0)
