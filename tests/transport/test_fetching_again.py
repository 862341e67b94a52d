"""A client that has lost its place is sent back to it, on a real broker; nothing comes twice."""

from __future__ import annotations

import asyncio
import time

import pytest
from confluent_kafka import OFFSET_END, TopicPartition

from sendtide.transport import Settings, chunk_topic

from .conftest import running, until, values_of


def collector(app, topic, values, gate=None):
    """An agent that notes what it gets, and waits at the gate with it."""

    @app.agent(chunk_topic(app, topic))
    async def collect(stream):
        async for chunk in stream:
            values.extend(values_of(chunk))
            if gate is not None:
                await gate.wait()


def values(first, end):
    return [b"%d" % n for n in range(first, end)]


def behind_its_back(consumer, call):
    """Have the poll thread call the client without the poller's knowing."""
    return asyncio.wrap_future(consumer._poller.call(lambda: call(consumer._poller._consumer)))


async def nothing_comes(seen, length):
    """Longer than the client takes to fetch."""
    await asyncio.sleep(1.0)
    assert len(seen) == length


LOSSES = {
    "paused": lambda client, topic: client.pause([TopicPartition(topic, 0)]),
    "ahead": lambda client, topic: client.seek(TopicPartition(topic, 0, OFFSET_END)),
    "both": lambda client, topic: (
        client.seek(TopicPartition(topic, 0, OFFSET_END)),
        client.pause([TopicPartition(topic, 0)]),
    ),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_records_that_a_lost_place_holds_back_come_once_and_in_order(broker, loss):
    """Paused by nobody we know of, or fetching from the end of the log: the position says where."""
    topic = broker.topic(1)
    broker.fill(topic, {0: values(0, 50)})
    seen = []

    async def run():
        app = broker.app(Settings())
        collector(app, topic, seen)
        async with running(app):
            consumer, place = app.consumer, (topic, 0)
            await until(lambda: len(seen) == 50, "the first records")
            await until(lambda: not consumer.assignments.get(place).ledger.unfinished, "their end")
            await behind_its_back(consumer, lambda client: client.pause([TopicPartition(*place)]))
            broker.fill(topic, {0: values(50, 80)})
            await behind_its_back(consumer, lambda client: loss(client, topic))
            await nothing_comes(seen, 50)
            assert await consumer.fetch_again([place]) == {place: 50}
            await until(lambda: len(seen) == 80, "the records that were held back")
            broker.fill(topic, {0: values(80, 90)})
            await until(lambda: len(seen) == 90, "what came later")

    asyncio.run(run())
    assert seen == values(0, 90)


def test_a_place_that_was_not_lost_is_fetched_again_without_a_trace(broker):
    """Whoever asks may be wrong: while records flow, each comes once all the same."""
    topic = broker.topic(1)
    seen, sought = [], []

    def fill():
        for n in range(20):
            broker.fill(topic, {0: values(50 * n, 50 * (n + 1))})
            time.sleep(0.2)  # while records flow without end, there is always work under way

    async def run():
        app = broker.app(Settings(chunk_messages=50))
        collector(app, topic, seen)
        async with running(app):
            filled = asyncio.ensure_future(asyncio.to_thread(fill))
            while len(seen) < 1_000:
                sought.extend((await app.consumer.fetch_again([(topic, 0)])).values())
                await asyncio.sleep(0.01)
            await filled
            await nothing_comes(seen, 1_000)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert seen == values(0, 1_000)
    assert len(set(sought)) > 1, "it was never sought while records flowed"


def test_work_under_way_and_pauses_for_load_are_let_be(broker):
    """Their records do not wait for the client; nor are partitions of others sought."""
    topic = broker.topic(1)
    broker.fill(topic, {0: values(0, 10)})
    seen = []

    async def run():
        gate = asyncio.Event()
        app = broker.app(Settings(max_chunks=1))
        collector(app, topic, seen, gate)
        place = (topic, 0)
        async with running(app):
            consumer = app.consumer
            await until(lambda: consumer._poller and place in consumer._poller.paused(), "a pause")
            assert await consumer.fetch_again([place, (topic, 7)]) == {}
            gate.set()
            await until(lambda: not consumer._poller.paused(), "relief")
            await until(lambda: not consumer.assignments.get(place).ledger.unfinished, "an end")
            assert await consumer.fetch_again([place, (topic, 7)]) == {place: 10}

    asyncio.run(run())
    assert seen == values(0, 10)
