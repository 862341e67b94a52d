"""Units under rebalances, on a real broker: copartition, positions, revocation, recovery."""

from __future__ import annotations

import asyncio
import contextlib

from sendtide.transport import Settings, chunk_topic
from sendtide.transport.assignments import Assignments, LoopListener
from sendtide.transport.errors import TopicMismatchError
from sendtide.transport.rebalance import CopartitionGroups

from .conftest import running, until


class Owner:
    """Notes what it is told; starts where it is told."""

    def __init__(self, starts=None, slow=()):
        self.starts = starts or {}
        self.slow = set(slow)
        self.go = asyncio.Event()
        self.events = []

    async def assigned(self, partitions):
        self.events.append(("assigned", frozenset(partitions)))
        if {number for _, number in partitions} & self.slow:
            await self.go.wait()
        self.events.append(("recovered", frozenset(partitions)))
        return {p: self.starts.get(p) for p in partitions}

    async def revoked(self, partitions):
        self.events.append(("revoked", frozenset(partitions)))

    async def lost(self, partitions):
        self.events.append(("lost", frozenset(partitions)))

    def told(self, what):
        return {p for event, unit in self.events if event == what for p in unit}


class Member:
    """One worker: an app with a chunk agent for each topic."""

    def __init__(self, broker, group, topics, owner=None, **settings):
        self.seen = []
        self.owner = owner
        self.app = broker.app(
            Settings(owner=owner, revoke_timeout_s=5, **({"copartition": [topics]} | settings)),
            group,
        )
        for topic in topics:
            self._agent(topic)

    def _agent(self, topic):
        @self.app.agent(chunk_topic(self.app, topic), name=f"agent-{topic}")
        async def take(stream):
            async for chunk in stream:
                self.seen.append((topic, chunk.partition, chunk.first_offset, chunk.next_offset))

    def held(self):
        return {tuple(tp) for tp in self.app.consumer.assignment()}


def whole(held, topics):
    """Each partition number held of one topic is held of all."""
    by_topic = [{n for t, n in held if t == topic} for topic in topics]
    return all(numbers == by_topic[0] for numbers in by_topic)


def ranges(members, topic, partition):
    found = [(a, b) for m in members for t, p, a, b in m.seen if (t, p) == (topic, partition)]
    return sorted(found)


def test_copartitioned_topics_stay_together_while_members_come_and_go(broker):
    """Three members join and one leaves under load: units are whole and disjoint, nothing is
    skipped, and (on Apache Kafka) nothing acknowledged is repeated.
    """
    topics = [broker.topic(6, "sends"), broker.topic(6, "engagements")]
    everything = {(t, p) for t in topics for p in range(6)}

    def spread(members):
        held = [m.held() for m in members]
        return (
            all(whole(h, topics) for h in held)
            and set().union(*held) == everything
            and sum(map(len, held)) == len(everything)
            and all(held)
        )

    async def run():
        group = broker.topic(1, "group")
        members = [Member(broker, group, topics, Owner()) for _ in range(3)]
        stop = asyncio.Event()

        async def produce():
            n = 0
            while not stop.is_set():
                values = {p: [b"%d" % n] * 20 for p in range(6)}
                for topic in topics:
                    await asyncio.to_thread(broker.fill, topic, values)
                n += 20
                await asyncio.sleep(0.05)
            return n

        producing = asyncio.ensure_future(produce())
        async with contextlib.AsyncExitStack() as stack:
            leaving = contextlib.AsyncExitStack()
            await leaving.enter_async_context(running(members[0].app))
            await until(lambda: spread(members[:1]), "the first member to hold all")
            await stack.enter_async_context(running(members[1].app))
            await until(lambda: spread(members[:2]), "two members to share")
            await stack.enter_async_context(running(members[2].app))
            await until(lambda: spread(members), "three members to share")
            await leaving.aclose()
            await until(lambda: spread(members[1:]), "the others to take over")
            stop.set()
            end = await producing
            assert end > 0

            def complete():
                return all(
                    max((b for _, b in ranges(members, t, p)), default=0) == end
                    for t, p in everything
                )

            await until(complete, "all messages of all partitions")
        for t, p in everything:
            found = ranges(members, t, p)
            reached = 0
            for a, b in found:
                assert a <= reached, f"{t}/{p}: nobody got [{reached}, {a})"
                # Clean hand-overs: every range begins where the one before ended. The embedded
                # broker does not wait for members and refuses commits of those it left behind.
                assert a == reached or not broker.waits_for_members, f"{t}/{p}: {a} repeated"
                reached = max(reached, b)
        assert broker.committed(group, sorted(everything)) == dict.fromkeys(everything, end)
        kept = members[0].owner
        assert kept.told("revoked") == kept.told("recovered") == everything

    asyncio.run(run())


def test_the_owner_decides_where_partitions_start(broker):
    """A given offset is fetched from; None and left-out partitions go on at the committed one; and
    a replay below the group's offset does not move the group back.
    """
    topic = broker.topic(3)
    broker.fill(topic, {p: [b"x"] * 10 for p in range(3)})

    async def run():
        group = broker.topic(1, "group")
        first = Member(broker, group, [topic], None)
        async with running(first.app):
            await until(lambda: sum(b - a for *_, a, b in first.seen) == 30, "a first reading")
        owner = Owner({(topic, 0): 4, (topic, 1): None})
        second = Member(broker, group, [topic], owner)
        async with running(second.app):
            await until(lambda: ranges([second], topic, 0) == [(4, 10)], "the replay")
            broker.fill(topic, {1: [b"y"] * 5, 2: [b"y"] * 5})
            await until(lambda: ranges([second], topic, 1) == [(10, 15)], "what is new in 1")
            await until(lambda: ranges([second], topic, 2) == [(10, 15)], "what is new in 2")
        assert broker.committed(group, [(topic, p) for p in range(3)]) == {
            (topic, 0): 10,
            (topic, 1): 15,
            (topic, 2): 15,
        }

    asyncio.run(run())


def test_a_group_that_stands_behind_the_owner_is_moved_up_without_a_record(broker):
    """The commit of what a worker had written down was lost with it, and nobody writes any more."""
    topic, group = broker.topic(1), broker.topic(1, "group")
    broker.fill(topic, {0: [b"x"] * 10})

    async def run():
        member = Member(broker, group, [topic], Owner({(topic, 0): 10}))
        async with running(member.app):
            await until(lambda: member.held() == {(topic, 0)}, "the partition")
            await until(
                lambda: broker.committed(group, [(topic, 0)]) == {(topic, 0): 10}, "the offset"
            )
        assert member.seen == []

    asyncio.run(run())


def test_partitions_go_on_while_another_recovers(broker):
    """Nothing of the recovering unit is fetched before its owner is ready; all others run."""
    topics = [broker.topic(4, "a"), broker.topic(4, "b")]
    values = {p: [b"x"] * 10 for p in range(4)}
    for topic in topics:
        broker.fill(topic, values)

    async def run():
        owner = Owner(slow=[2])
        member = Member(broker, broker.topic(1, "group"), topics, owner)

        def got(numbers):
            return all(ranges([member], t, p) == [(0, 10)] for t in topics for p in numbers)

        async with running(member.app):
            await until(lambda: got([0, 1, 3]), "the units that are ready")
            await asyncio.sleep(0.3)
            assert not any(p == 2 for _, p, *_ in member.seen)
            owner.go.set()
            await until(lambda: got([2]), "the unit that took its time")

    asyncio.run(run())


def test_a_unit_taken_away_while_it_recovers_is_not_revoked(broker):
    """Its recovery is cancelled: there is nothing to finish, and the app stops without it."""
    topic = broker.topic(1)

    async def run():
        owner = Owner(slow=[0])
        member = Member(broker, broker.topic(1, "group"), [topic], owner)
        async with running(member.app):
            await until(lambda: bool(owner.told("assigned")), "the recovery to begin")
        assert [event for event, _ in owner.events] == ["assigned"]

    asyncio.run(run())


def test_what_the_owner_acknowledges_while_it_is_revoked_is_committed(broker):
    """The hand-over waits for the owner, then commits, then lets the next member go on there."""
    topic = broker.topic(1)
    broker.fill(topic, {0: [b"x"] * 10})
    held = []

    class Finisher(Owner):
        async def revoked(self, partitions):
            await asyncio.sleep(0.2)  # outputs on their way
            for chunk in held:
                chunk.ack()

    async def run():
        app = broker.app(Settings(owner=Finisher(), revoke_timeout_s=5))

        @app.agent(chunk_topic(app, topic))
        async def hold(stream):
            async for chunk in stream:
                chunk.hold()
                held.append(chunk)

        async with running(app):
            await until(lambda: sum(map(len, held)) == 10, "the chunk to be held")
        return app.conf.id

    group = asyncio.run(run())
    assert broker.committed(group, [(topic, 0)]) == {(topic, 0): 10}


def test_an_owner_that_fails_to_recover_stops_the_app(broker):
    """Going on without the partition's state would be a silent loss."""
    topic = broker.topic(1)

    class Broken(Owner):
        async def assigned(self, partitions):
            msg = "the snapshot is damaged"
            raise OSError(msg)

    async def run():
        member = Member(broker, broker.topic(1, "group"), [topic], Broken())
        async with running(member.app):
            await until(lambda: member.app.crashed, "the crash")
            assert isinstance(member.app.crash_reason, OSError)

    asyncio.run(run())


def test_who_joins_later_gets_its_share_of_both_kinds_of_work(broker):
    """Without companions the one that was first may keep all of one topic, and give all of the
    other.
    """
    leader, companion = broker.topic(4, "sends"), broker.topic(4, "examples")

    def shares(member):
        held = member.held()
        return [sum(t == topic for t, _ in held) for topic in (leader, companion)]

    async def run():
        group = broker.topic(1, "group")
        members = [
            Member(
                broker,
                group,
                [leader, companion],
                Owner(),
                copartition=[[leader]],
                companions={companion: (leader, 4)},
            )
            for _ in range(2)
        ]
        async with running(members[0].app):
            await until(lambda: shares(members[0]) == [4, 4], "the first to hold all")
            async with running(members[1].app):
                await until(lambda: [shares(m) for m in members] == [[2, 2]] * 2, "equal shares")

    asyncio.run(run())


def test_unequal_copartitions_are_refused_at_start(broker):
    """Before a single message is fetched."""
    topics = [broker.topic(2), broker.topic(3)]

    async def run():
        member = Member(broker, broker.topic(1, "group"), topics, None)
        async with running(member.app):
            await until(lambda: member.app.crashed, "the refusal")
            assert isinstance(member.app.crash_reason, TopicMismatchError)

    asyncio.run(run())


class Alone:
    """What assignments ask of a consumer, without a broker."""

    def __init__(self):
        self.begun, self.tasks = [], []

    async def committed(self, partitions):
        return dict.fromkeys(partitions)

    async def begin(self, starts):
        self.begun.append(frozenset(starts))

    async def commit_partitions(self, partitions):
        return True

    async def announce(self):
        await asyncio.sleep(0)

    async def crash(self, reason):
        raise reason

    def spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))


def test_what_is_lost_and_given_again_in_one_turn_is_started_again():
    """A loop too busy to hear of the loss before the next assignment drops the old unit alone."""

    async def run():
        host, owner = Alone(), Owner()
        unit = frozenset([("sends", 0), ("engagements", 0)])
        groups = CopartitionGroups([("sends", "engagements")])
        assignments = Assignments(host, groups, owner, 5.0)
        listener = LoopListener(asyncio.get_running_loop(), assignments, list, host)
        listener.assigned({("sends", 0)})
        await until(lambda: len(host.begun) == 1, "the first start")
        listener.lost({("sends", 0)})
        listener.assigned({("sends", 0)})
        await until(lambda: len(host.begun) == 2, "the second start")
        told = [what for what, _ in owner.events]
        assert told == ["assigned", "recovered", "lost", "assigned", "recovered"]
        assert assignments.held() == set(assignments.running()) == unit

    asyncio.run(run())


def test_a_release_that_is_cancelled_lets_go_all_the_same():
    """A stopping app cancels what it waits for; a unit nobody holds must not seem to run."""

    async def run():
        host, owner = Alone(), Owner()
        assignments = Assignments(host, CopartitionGroups([("sends", "engagements")]), owner, 5.0)
        assignments.given({("sends", 0)})
        await until(lambda: len(host.begun) == 1, "the start")
        began = asyncio.Event()

        async def revoked(_):
            began.set()
            await asyncio.Event().wait()

        owner.revoked = revoked
        release = asyncio.ensure_future(assignments.revoke([("sends", 0)]))
        await began.wait()
        release.cancel()
        await asyncio.wait([release])
        assert not assignments.running()
        assert not assignments.held()

    asyncio.run(run())
