"""Agents on a real broker: chunks, events, what is committed when, and what happens on errors."""

from __future__ import annotations

import asyncio

import faust
import pytest

from sendtide.transport import ChunkAbandonedError, Settings, chunk_topic
from sendtide.transport.errors import ConfigurationError, DeliveryError

from .conftest import records, running, until, values_of


class Order(faust.Record, serializer="json"):
    """A typed value for an ordinary agent."""

    number: int


def counter(app, topic, seen):
    """An agent that notes the chunks it gets."""

    @app.agent(chunk_topic(app, topic))
    async def count(stream):
        async for chunk in stream:
            seen.append(chunk)

    return count


def total(chunks) -> int:
    return sum(len(chunk) for chunk in chunks)


def test_every_message_arrives_once_in_offset_order_as_whole_chunks(broker):
    """Chunks of a partition join without gap or overlap; on stop all of them are committed."""
    topic = broker.topic(4)
    broker.fill(topic, {p: [b"%d-%d" % (p, n) for n in range(500)] for p in range(4)})
    seen = []

    async def run():
        app = broker.app(Settings(chunk_messages=300))
        counter(app, topic, seen)
        async with running(app):
            await until(lambda: total(seen) == 2_000, "all messages")
        return app.conf.id

    group = asyncio.run(run())
    for p in range(4):
        mine = [c for c in seen if c.partition == p]
        assert [v for c in mine for v in values_of(c)] == [b"%d-%d" % (p, n) for n in range(500)]
        assert [c.first_offset for c in mine] == [0, *[c.next_offset for c in mine[:-1]]]
        assert len({c.generation for c in mine}) == 1
    assert broker.committed(group, [(topic, p) for p in range(4)]) == {
        (topic, p): 500 for p in range(4)
    }


def test_ordinary_agents_with_value_types_work_beside_chunks(broker):
    """Typed values, keys, headers and sends of a per-event agent, in the same app."""
    orders, copies, chunks = broker.topic(2), broker.topic(2), broker.topic(2)
    seen, echoed, keys = [], [], []

    async def run():
        app = broker.app(Settings(idempotence=broker.idempotence))
        seen_chunks = []
        counter(app, chunks, seen_chunks)
        source = app.topic(orders, key_type=str, value_type=Order)
        target = app.topic(copies, value_type=Order)

        @app.agent(source)
        async def copy(stream):
            async for key, order in stream.items():
                seen.append(order.number)
                keys.append((key, stream.current_event.headers))
                await target.send(key=key, value=order)

        @app.agent(target)
        async def echo(stream):
            async for order in stream:
                echoed.append(order.number)

        async with running(app):
            for n in range(200):
                await source.send(key=f"k{n}", value=Order(number=n), headers={"n": b"%d" % n})
            await (await app.producer.send_batch(chunks, records(100))).delivered()
            await until(lambda: len(echoed) == 200 and total(seen_chunks) == 100, "all events")
            sent = await (await source.send(key="last", value=Order(number=200)))
            assert sent.topic == orders
            assert sent.partition == app.producer.key_partition(orders, b"last").partition
        return app.conf.id

    group = asyncio.run(run())
    assert sorted(seen)[:200] == sorted(echoed)[:200] == list(range(200))
    headers = {key: dict(pairs) for key, pairs in keys}
    assert headers["k7"] == {"n": b"7"}
    assert sum(broker.committed(group, [(orders, 0), (orders, 1)]).values()) >= 200


def test_commits_never_pass_a_held_chunk(broker):
    """Later chunks may finish first; the offset waits for the oldest, then jumps."""
    topic = broker.topic(1)
    chunks = []

    async def run():
        app = broker.app(Settings(chunk_messages=10, revoke_timeout_s=1))

        @app.agent(chunk_topic(app, topic))
        async def hold(stream):
            async for chunk in stream:
                chunk.hold()
                chunks.append(chunk)

        broker.fill(topic, {0: [b"x"] * 60})
        async with running(app):
            await until(lambda: total(chunks) == 60, "all chunks held")
            assert len(chunks) >= 3
            for chunk in chunks[1:]:
                chunk.ack()
            await asyncio.sleep(0.4)  # several commit intervals
            assert await app.consumer.committed([(topic, 0)]) == {(topic, 0): None}
            chunks[0].ack()

            async def moved():
                return await app.consumer.committed([(topic, 0)]) == {(topic, 0): 60}

            await until(moved, "the commit of everything")

    asyncio.run(run())


def test_commits_never_pass_an_event_in_work(broker):
    """Two instances of an ordinary agent: the event that is still worked on holds the offset."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"%d" % n for n in range(20)]})
    done, release = [], asyncio.Event()

    async def run():
        app = broker.app(Settings(revoke_timeout_s=1))
        source = app.topic(topic, value_type=bytes, value_serializer="raw")

        @app.agent(source, concurrency=2)
        async def slow(stream):
            async for value in stream:
                if value == b"3":
                    await release.wait()
                done.append(value)

        async with running(app):
            await until(lambda: len(done) >= 19, "all but the slow event")
            await asyncio.sleep(0.4)
            assert await app.consumer.committed([(topic, 0)]) == {(topic, 0): 3}
            release.set()

            async def moved():
                return await app.consumer.committed([(topic, 0)]) == {(topic, 0): 20}

            await until(moved, "the commit of everything")

    asyncio.run(run())


def test_an_exception_stops_the_app_and_the_chunk_comes_again(broker):
    """The failed chunk and all after it are neither acknowledged nor skipped."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"%d" % n for n in range(30)]})
    began, seen = [], []

    async def fail():
        app = broker.app(Settings(chunk_messages=10))

        @app.agent(chunk_topic(app, topic))
        async def broken(stream):
            async for chunk in stream:
                began.append(chunk.first_offset)
                if chunk.next_offset > 15:
                    msg = "no such column"
                    raise LookupError(msg)

        async with running(app):
            await until(lambda: app.crashed, "the crash")
            assert isinstance(app.crash_reason, LookupError)
            await asyncio.sleep(0.3)  # time for a supervisor to go on with the next chunk
        return app.conf.id

    async def again(group):
        app = broker.app(Settings(), group)
        counter(app, topic, seen)
        async with running(app):
            await until(lambda: seen and seen[-1].next_offset == 30, "the chunk again")

    group = asyncio.run(fail())
    offset = broker.committed(group, [(topic, 0)])[topic, 0]
    assert offset <= 15
    asyncio.run(again(group))
    assert seen[0].first_offset == max(offset, 0) == began[-1]


def test_leaving_the_loop_on_a_chunk_stops_the_app(broker):
    """An agent that returns would leave its chunk unacknowledged for ever, in silence."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"x"] * 5})

    async def run():
        app = broker.app(Settings())

        @app.agent(chunk_topic(app, topic))
        async def leaves(stream):
            async for _ in stream:
                break

        async with running(app):
            await until(lambda: app.crashed, "the crash")
            assert isinstance(app.crash_reason, ChunkAbandonedError)
        return app.conf.id

    group = asyncio.run(run())
    assert broker.committed(group, [(topic, 0)])[topic, 0] < 0


def test_stopping_waits_for_work_begun_and_repeats_what_was_not(broker):
    """The chunk in work is finished and committed; one that cannot finish in time is not."""
    topic = broker.topic(2)
    broker.fill(topic, {0: [b"x"] * 5, 1: [b"y"] * 5})
    begun = set()

    async def run():
        app = broker.app(Settings(revoke_timeout_s=1.0))

        @app.agent(chunk_topic(app, topic), concurrency=1)
        async def work(stream):
            async for chunk in stream:
                chunk.hold()
                begun.add(chunk.partition)
                if chunk.partition == 0:
                    app.loop.call_later(0.2, chunk.ack)  # finishes during the stop

        async with running(app):
            await until(lambda: begun == {0, 1}, "both chunks in work")
        return app.conf.id

    group = asyncio.run(run())
    found = broker.committed(group, [(topic, 0), (topic, 1)])
    assert found[topic, 0] == 5
    assert found[topic, 1] < 0


def test_a_failed_commit_is_noticed_and_tried_again(broker):
    """What the broker did not confirm is committed by a later attempt without new work."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"x"] * 5})
    asked = []

    async def run():
        app = broker.app(Settings())
        seen = []
        counter(app, topic, seen)
        async with running(app):
            await until(lambda: app.consumer.assignment() != set(), "an assignment")
            real = app.consumer._poller.commit

            def stale(offsets):
                """Have the broker refuse the first two, for a topic that does not exist."""
                asked.append(dict(offsets))
                wrong = {("no-such-topic-at-all", 0): 1} if len(asked) <= 2 else offsets
                return real(wrong)

            app.consumer._poller.commit = stale

            async def moved():
                running = app.consumer.assignments.get((topic, 0))  # none until it has begun
                if running is None or running.ledger.committable is not None:
                    return False  # not heard of: the stop would commit once more
                return await app.consumer.committed([(topic, 0)]) == {(topic, 0): 5}

            await until(moved, "the commit")
            assert app.consumer.committer.failures == 2

    asyncio.run(run())
    assert asked == [{(topic, 0): 5}] * 3


def test_an_output_that_cannot_be_sent_stops_the_app_before_the_commit(broker):
    """A per-event agent that does not look at its sends must not lose one with its input."""
    source, target = broker.topic(1), broker.topic(1)
    broker.fill(source, {0: [b"x"]})

    async def run():
        app = broker.app(Settings())

        @app.agent(app.topic(source, value_type=bytes, value_serializer="raw"))
        async def send(stream):
            async for _ in stream:
                await app.producer.send(target, None, b"y" * 2_000_000, None, None, None)

        async with running(app):
            await until(lambda: app.crashed, "the crash")
            assert isinstance(app.crash_reason, DeliveryError)
        return app.conf.id

    group = asyncio.run(run())
    assert broker.committed(group, [(source, 0)])[source, 0] < 0


def test_slow_agents_pause_their_partitions_and_lose_nothing(broker):
    """In flight stays near its limit however much waits; fast topics are not held up."""
    slow, fast = broker.topic(2), broker.topic(1)
    value = b"z" * 1_000
    broker.fill(slow, {0: [value] * 4_000, 1: [value] * 4_000})
    peak, paused = [0], [False]

    async def run():
        seen, quick, release = [], [], asyncio.Event()
        app = broker.app(
            Settings(chunk_messages=200, fetch_wait_s=0.01, max_chunks=4, max_bytes=1 << 20)
        )
        counter(app, fast, quick)

        @app.agent(chunk_topic(app, slow))
        async def dawdle(stream):
            async for chunk in stream:
                load = [app.consumer.in_flight.load((slow, p)) for p in range(2)]
                peak[0] = max(peak[0], *(size for _, size in load))
                await release.wait()
                await asyncio.sleep(0.002)
                seen.append((chunk.partition, chunk.first_offset, chunk.next_offset))

        async with running(app):
            await until(lambda: bool(app.consumer._poller.paused()), "a pause")
            paused[0] = True
            held = app.consumer._poller.paused()
            assert held <= {(slow, 0), (slow, 1)}
            await (await app.producer.send_batch(fast, records(50))).delivered()
            await until(lambda: total(quick) == 50, "the fast topic, while the slow one waits")
            release.set()
            await until(lambda: sum(b - a for _, a, b in seen) >= 8_000, "everything")
        return seen

    seen = asyncio.run(run())
    for p in range(2):
        ranges = [(a, b) for q, a, b in seen if q == p]
        assert [a for a, _ in ranges] == [0, *[b for _, b in ranges[:-1]]]
        assert ranges[-1][1] == 4_000
    assert paused[0]
    # The limit, and the one fetch that found room below it.
    assert peak[0] <= (1 << 20) + 2 * 200 * 1_200


def test_a_topic_cannot_be_read_as_chunks_and_as_events(broker):
    """The two would acknowledge the same offsets by different rules."""
    topic = broker.topic(1)

    async def run():
        app = broker.app(Settings())
        counter(app, topic, [])

        @app.agent(app.topic(topic, value_type=bytes))
        async def other(stream):
            async for _ in stream:
                pass

        async with running(app):
            await until(lambda: app.crashed or app.consumer.crashed, "the refusal")
            reason = app.crash_reason or app.consumer.crash_reason
            assert isinstance(reason, ConfigurationError)

    asyncio.run(run())


def test_tables_are_refused(broker):
    """Cooperative assignment does not keep changelogs beside their sources."""

    async def run():
        app = broker.app(Settings())
        app.Table("counts", default=int)
        with pytest.raises(ConfigurationError, match="counts"):
            await app.consumer.subscribe([])

    asyncio.run(run())
