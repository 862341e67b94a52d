"""A model of broker, Redis and clock drives the real stage through crashes: its state stays exact.

Everything is real but the wire: gates, join, positions, runtime, snapshots, sink and fence. The
model decides what is produced, what is delivered, when offsets move and where a worker dies.
"""

from __future__ import annotations

import asyncio
import copy
import json
import uuid
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import Message
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sendtide.chaos.load import mail
from sendtide.chaos.recount import recount
from sendtide.events.errors import Fenced
from sendtide.events.examples import ExampleBlock
from sendtide.events.topics import INPUTS
from sendtide.models import ModelDirectory
from sendtide.pipeline import load_pipeline
from sendtide.recipients import digest
from sendtide.sinks.memory import MemoryStore
from sendtide.sinks.seals import Seals
from sendtide.stages import stage as stage_module
from sendtide.stages.piece import Piece
from sendtide.stages.recipient import RecipientStage
from sendtide.state import SnapshotStore
from sendtide.transport import RecordBatch, merged

HOUR_MS = 3_600_000
TOPICS = tuple(topic.name for topic in INPUTS)
NOW_MS = 1_790_000_000_000
RECORDS = mail(700, 11, trouble=0.03, lateness_ms=6 * HOUR_MS)
PIPELINE = load_pipeline(Path(__file__).parents[2] / "pipelines" / "default.toml")
BUCKETS = ("applied", "duplicate", "late", "dead_letter", "erased")


class Death(Exception):  # noqa: N818
    """The worker ends here."""


class Chunk:
    """A run of messages that moves the group's offset when it is acknowledged."""

    def __init__(self, model, topic, first, messages):
        self.topic, self.partition, self.records = topic, 0, RecordBatch.of(messages)
        self.first_offset, self.next_offset = first, first + len(messages)
        self.ack = lambda: model.acknowledged(topic, self.next_offset)

    def hold(self):
        """Kept by the piece."""


class Broker:
    """Logs of one partition, the group's offsets, and what was sent."""

    def __init__(self):
        self.logs = {topic: [] for topic in TOPICS}
        self.offsets = {}
        self.sent = []

    def committed(self, units):
        return {topic: self.offsets[topic] for topic, _ in units if topic in self.offsets}

    def identities(self, topics):
        return dict.fromkeys(topics, "1")

    def log(self, units):
        return {topic: (0, len(self.logs[topic])) for topic, _ in units}

    def append(self, record):
        topic, key, value, _ = record
        offset = len(self.logs[topic])
        self.logs[topic].append(
            Message(topic, 0, offset, key=key, value=value, timestamp=(2, NOW_MS))
        )


class Crashes(RuleBasedStateMachine):
    """One partition under a worker that dies, is replaced, comes back as a zombie."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = 1_000
        self.real_time = stage_module.time
        stage_module.time = SimpleNamespace(time=self.tick, monotonic=self.tick)
        self.broker, self.store = Broker(), MemoryStore(now_ms=lambda: NOW_MS)
        self.url = f"memory://{uuid.uuid4().hex}"
        self.produced, self.epoch = 0, 0
        self.copy = None
        self.zombies = []
        self.start()

    def tick(self):
        self.clock += 1
        return self.clock

    def new_stage(self):
        sink = copy.copy(self.store)  # the same server, another writer
        sink._seals = Seals()
        return RecipientStage(
            PIPELINE, ModelDirectory(), deliver=self.deliver, sink=sink,
            snapshots=SnapshotStore(self.url, "recipients"), offsets=self.broker,
            on_failure=lambda error: None,
        )  # fmt: skip

    async def deliver(self, outputs, *_):
        self.broker.sent += [(t, record) for t, records in merged([outputs]) for record in records]

    def acknowledged(self, topic, offset):
        self.acked[topic] = max(offset, self.acked.get(topic, 0))

    def start(self):
        """A worker recovers the partition."""
        self.acked = {}
        self.stage = self.new_stage()
        self.fetch = self.runner.run(self.stage.assigned(0))
        assert self.held.epoch > self.epoch, "an epoch fell or came again"
        self.epoch = self.held.epoch

    @property
    def held(self):
        return self.stage.held[0]

    @rule(count=st.integers(1, 120))
    def produce(self, count):
        for record in RECORDS[self.produced : self.produced + count]:
            self.broker.append(record)
        self.produced = min(len(RECORDS), self.produced + count)

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 60))
    def apply(self, topic, count):
        first = self.fetch[topic]
        messages = self.broker.logs[topic][first : first + count]
        if messages:
            self.fetch[topic] = first + len(messages)
            self.runner.run(self.taken(Chunk(self, topic, first, messages)))

    async def taken(self, chunk):
        await self.stage.take(Piece.whole(chunk))
        await self.held.delivered()

    @rule()
    def commit(self):
        self.broker.offsets |= self.acked

    @rule()
    def publish(self):
        self.runner.run(self.stage.publish_all())

    @rule()
    def write_down(self):
        self.runner.run(self.stage.write_down(self.held))

    @rule(point=st.sampled_from(["now", "before columns", "before manifest"]))
    def crash(self, point):
        """Dies now, or in the middle of a snapshot; what was not committed comes again."""

        def put(path, data):
            if point == "before columns" or path.endswith(".manifest"):
                raise Death
            SnapshotStore._put(self.stage._snapshots, path, data)

        if point != "now":
            self.stage._snapshots._put = put
            with suppress(Death):
                self.runner.run(self.stage.write_down(self.held))
        self.start()

    @rule(topic=st.sampled_from(TOPICS), count=st.integers(1, 60))
    def crash_before_apply(self, topic, count):
        """Dies with a chunk in its hands."""
        first = self.fetch[topic]
        messages = self.broker.logs[topic][first : first + count]
        if messages:
            self.received(Chunk(self, topic, first, messages))
        self.start()

    def received(self, chunk):
        """A worker that keeps the order does nothing yet."""

    @rule()
    def rebalance(self):
        """Leaves in order: written down, committed, another takes over."""
        self.runner.run(self.stage.revoked(0))
        self.broker.offsets |= self.acked
        self.start()

    @rule()
    def pause(self):
        """Another takes over while this one is paused with all it holds."""
        if len(self.zombies) < 3:
            self.zombies.append((self.stage, self.held))
        self.clock += 60  # past its session, or nobody else would be given the partition
        self.start()
        self.publish()

    @precondition(lambda self: self.zombies)
    @rule()
    def zombie_writes(self):
        """A paused worker goes on: it is refused, and if Redis went back it is repaired."""
        stage, held = self.zombies.pop()
        fenced = self.store._epochs.get("sendtide:1:fence:recipients:0", 0) > held.epoch
        mine = f"zombie of {held.epoch}"
        held.runtime.positions.applied[mine] = 1  # a snapshot is due
        with pytest.raises(Fenced) if fenced else suppress(Fenced):
            self.runner.run(stage.write_down(held))
        newest = self.stage._snapshots.newest(0)
        assert newest is None or mine not in newest[0].offsets or not fenced

    @rule()
    def copy_redis(self):
        kept = {name: held for name, held in vars(self.store).items() if isinstance(held, dict)}
        self.copy = copy.deepcopy(kept)

    @precondition(lambda self: self.copy is not None)
    @rule()
    def roll_redis_back(self):
        """Redis forgets what came after the copy; its writers do not, and write it again."""
        for name, held in self.copy.items():
            getattr(self.store, name).clear()
            getattr(self.store, name).update(copy.deepcopy(held))

    @invariant()
    def offsets_stay_behind_the_work(self):
        for topic, offset in self.broker.offsets.items():
            emitted = self.held.runtime.positions.emitted[topic]
            assert offset <= max(self.held.runtime.positions.applied[topic], emitted)

    def teardown(self):
        try:
            for topic in TOPICS:
                while self.fetch[topic] < len(self.broker.logs[topic]):
                    self.apply(topic, 1_000)
            self.publish()
            self.judge()
        finally:
            stage_module.time = self.real_time
            self.runner.close()

    def judge(self):
        """State, outputs and counts against a clean run and the recount."""
        expected = recount(
            [(*record[:3], NOW_MS) for record in RECORDS[: self.produced]],
            lateness_ms=dict(zip(TOPICS, (HOUR_MS, 6 * HOUR_MS, HOUR_MS), strict=True)),
            partition=lambda _: 0,
        )
        for topic in TOPICS:
            found = self.held.counts.get(topic, {})
            counts = {name: found.get(name, 0) for name in BUCKETS}
            assert counts == {name: expected.buckets[topic][name] for name in BUCKETS}
        clean = Clean(self.broker.logs)
        assert digest(self.held.state) == clean.digest
        assert outputs(self.broker.sent) == outputs(clean.sent)
        assert self.store.totals() == {t: c for t, c in self.held.counts.items() if c}
        self.judge_recipients(expected)

    def judge_recipients(self, expected):
        """Everybody's record is there, however often Redis went back."""
        sends = Counter(who for who, _ in expected.sent.values())
        found = self.store.records([client for client, _ in sends], [who for _, who in sends])
        bounced = expected.sent.keys() & set(expected.bounced)
        for who, _ in map(expected.sent.__getitem__, bounced):
            sends[who] -= 1
        assert found["sends"].tolist() == list(sends.values())


class Clean:
    """The same logs, applied once, topic by topic."""

    def __init__(self, logs):
        self.sent = []
        broker = Broker()
        broker.logs = logs

        async def deliver(outputs, *_):
            self.sent += [(t, record) for t, records in merged([outputs]) for record in records]

        stage = RecipientStage(
            PIPELINE, ModelDirectory(), deliver=deliver, sink=MemoryStore(),
            snapshots=SnapshotStore(f"memory://{uuid.uuid4().hex}", "recipients"), offsets=broker,
            on_failure=lambda error: None,
        )  # fmt: skip

        async def run():
            await stage.assigned(0)
            for topic in TOPICS:
                if logs[topic]:
                    await stage.take(Piece.whole(Chunk(self, topic, 0, logs[topic])))
            await stage.held[0].delivered()

        asyncio.run(run())
        self.digest = digest(stage.held[0].state)

    def acknowledged(self, topic, offset):
        """Nobody asks."""


def outputs(sent):
    """What readers are left with: answers by id, dead letters by place, examples by send."""
    found = set()
    for topic, record in sent:
        if topic == "ml.predictions":
            found.add((topic, json.loads(record.value)["id"]))
        elif topic == "email.dead-letters":
            headers = dict(record.headers)
            place = headers["sendtide-topic"], headers["sendtide-offset"]
            found.add((topic, *place, record.key, record.value))
        elif topic == "ml.examples":
            block = ExampleBlock.from_bytes(record.value)
            offsets = block.columns["send_offset"].tolist()
            found |= {(topic, block.kind, offset) for offset in offsets}
    return found


class CommitsFirst(Crashes):
    """A worker that moves the offset before it has done the work."""

    def received(self, chunk):
        self.broker.offsets[chunk.topic] = chunk.next_offset


class NeverLooks(Crashes):
    """A worker that does not mind whether Redis still has what it was given."""

    def new_stage(self):
        stage = super().new_stage()
        look = stage._sink.forgot
        stage._sink.forgot = lambda owners: look(owners) and []
        return stage


class ForgetsRepeats(Crashes):
    """A worker that does not remember which events it has seen."""

    async def taken(self, chunk):
        state = self.held.state
        state.seen = [type(seen)(seen.window) for seen in state.seen]
        await super().taken(chunk)


OPTIONS = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


def test_nothing_is_lost_or_doubled_whatever_happens():
    """State, counts and outputs equal a clean run's and the recount, after any history."""
    run_state_machine_as_test(
        Crashes, settings=settings(max_examples=100, stateful_step_count=30, **OPTIONS)
    )


@pytest.mark.parametrize("broken", [CommitsFirst, ForgetsRepeats])
def test_the_model_notices_a_broken_promise(broken):
    """The same machine finds a history in which the broken worker is wrong."""
    options = settings(max_examples=300, stateful_step_count=30, phases=[Phase.generate], **OPTIONS)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(broken, settings=options)


def test_the_model_notices_a_redis_that_nobody_repairs():
    """A history that a worker of its word survives, and one that does not look does not."""
    for worker, ends in ((Crashes(), nullcontext()), (NeverLooks(), pytest.raises(AssertionError))):
        worker.copy_redis()
        worker.produce(100)
        worker.apply("email.sends", 100)
        worker.publish()
        worker.roll_redis_back()
        with ends:
            worker.teardown()
