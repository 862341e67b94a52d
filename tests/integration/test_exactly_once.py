"""Every output exactly once for readers of committed records, on Apache Kafka and Redis proper.

Workers are killed, or paused past their session, right before and right after they commit a
transaction with examples in it, so that work is in flight for certain. The state is judged by a
recount of what was produced; outputs by their identities.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import redis as redis_client
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from sendtide.commands.deployment import topic_specs
from sendtide.events.examples import ExampleBlock
from sendtide.lab import Scenario, event_records
from sendtide.local import start_kafka, start_redis, stop_kafka
from sendtide.pipeline import load_pipeline
from sendtide.transport import create_topics
from servers import require
from whole import assert_exact, produce, start_worker, wait_for

PARTITIONS = 4
PIPELINE = f"""
[topics]
partitions = {PARTITIONS}
[join]
machine_within = "0s"
horizon = "3d"
[snapshots]
interval = "1s"
[windows]
size = "1d"
[outputs]
exactly_once = "on"
[drift]
reference_rows = 100
minimum_count = 10
"""
STOPPED_AT_COMMIT = """
import runpy, signal, sys, threading
from sendtide.transport import transactional_client as module

when, name = sys.argv[1:3]

class Producer(module.Producer):
    examples = done = False

    def produce(self, topic, *arguments, **options):
        self.examples = self.examples or topic == "ml.examples"
        super().produce(topic, *arguments, **options)

    def commit_transaction(self, *arguments):
        self.flush(5)
        self.signal("before")
        super().commit_transaction(*arguments)
        self.signal("after")
        self.examples = False

    def signal(self, now):
        if self.examples and now == when and not Producer.done:
            Producer.done = True
            signal.pthread_kill(threading.get_ident(), signal.Signals[name])

module.Producer = Producer
sys.argv = ["sendtide", *sys.argv[3:]]
runpy.run_module("sendtide.commands", run_name="__main__")
"""
REFUSED = 40


def stopped(when, name):
    """Arguments of a program whose first commit of examples is met by a signal."""
    return "-c", STOPPED_AT_COMMIT, when, name


@pytest.fixture
def servers(tmp_path):
    """(bootstrap of Kafka, URL of Redis), with topics, ended by pid."""
    require("java", "mvn", package="default-jre-headless maven")
    require("redis-server", package="redis-server")
    kafka, redis = start_kafka(tmp_path / "kafka"), start_redis(["redis-server"], tmp_path)
    (tmp_path / "p.toml").write_text(PIPELINE)
    specs = topic_specs(load_pipeline(tmp_path / "p.toml"))
    create_topics({"bootstrap.servers": kafka[0].address}, specs)
    yield kafka[0].address, redis.address
    redis.stop()
    stop_kafka(kafka)


@pytest.fixture(scope="module")
def records():
    """Mail of twenty clients."""
    scenario = Scenario(seed=8, clients=20, recipients=2_000, request_share=0.03)
    return [row for part in event_records(30_000, scenario) for row in part]


def poison(number):
    """Records no gate takes."""
    return [("email.sends", b"k%d" % n, b"{not json %d" % n, 0) for n in range(number)]


def everything_on(kafka, topic, isolation="read_committed"):
    """All messages of a topic."""
    settings = {"bootstrap.servers": kafka, "group.id": "judge", "enable.partition.eof": True}
    reader = Consumer({**settings, "isolation.level": isolation})
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    messages, ended = [], 0
    while ended < PARTITIONS:
        message = reader.poll(20.0)
        assert message is not None
        if message.error():
            ended += 1
        else:
            messages.append(message)
    reader.close()
    return messages


def identities(kafka, topic):
    """How often each output stands on a topic, for readers of committed records.

    Lifts are left out: they are running results, told by the clock and by each owner anew.
    """
    found = Counter()
    for message in everything_on(kafka, topic):
        if topic == "email.dead-letters":
            found[tuple(value for name, value in message.headers() if "reason" not in name)] += 1
        elif topic == "ml.examples":
            block = ExampleBlock.from_bytes(message.value())
            columns = block.columns["origin"].tolist(), block.columns["send_offset"].tolist()
            for origin, offset in zip(*columns, strict=True):
                found[block.kind, origin, offset] += 1
        elif not (name := json.loads(message.value())["id"]).startswith("lift."):
            found[name] += 1
    return found


def assert_once(kafka, records):
    """Each output once: answers for all requests, examples for all sends, all refused records."""
    asked = {json.loads(v)["id"] for topic, _, v, _ in records if topic == "email.requests"}
    sends = sum(topic == "email.sends" for topic, *_ in records)
    found = {
        topic: identities(kafka, topic)
        for topic in ("ml.predictions", "ml.examples", "email.dead-letters", "ml.metrics")
    }
    repeated = {
        topic: [(key, n) for key, n in counter.items() if n > 1][:5]
        for topic, counter in found.items()
    }
    assert not any(repeated.values()), repeated
    assert found["ml.predictions"].keys() == asked
    assert sum(kind == "exposure" for kind, *_ in found["ml.examples"]) == sends
    assert len(found["email.dead-letters"]) == REFUSED
    assert found["ml.metrics"]


def wait_for_learning(kafka, store, worker):
    """Wait until all examples are learned of: they are made a while after the events are in."""
    deadline = time.monotonic() + 120
    while True:
        made = identities(kafka, "ml.examples").total()
        counts = store.hgetall("sendtide:1:totals").items()
        learned = sum(
            int(number)
            for name, number in counts
            if name.startswith(b"ml.examples/") and name.endswith(b":applied")
        )
        if learned == made > 0:
            return
        assert time.monotonic() < deadline, (learned, made, worker.tail())
        time.sleep(0.5)


def in_flight(kafka, topic):
    """Records of transactions that were aborted: sent, and of no account."""
    return len(everything_on(kafka, topic, "read_uncommitted")) - len(everything_on(kafka, topic))


def test_kills_around_a_commit_leave_every_output_once(servers, records, tmp_path):
    """What was in flight is aborted and made again; what was committed unheard is not."""
    kafka, redis = servers
    store = redis_client.Redis.from_url(redis)
    quarter = len(records) // 4
    produce(kafka, poison(REFUSED))

    for number, when in enumerate(("before", "after", "before")):
        produce(kafka, records[number * quarter : (number + 1) * quarter])
        cut = in_flight(kafka, "ml.examples")
        program = stopped(when, "SIGKILL")
        worker = start_worker(tmp_path, kafka, redis, number, program)
        assert worker.process.wait(120) == -signal.SIGKILL, worker.tail()
        assert when == "after" or in_flight(kafka, "ml.examples") > cut, "nothing was in flight"
    produce(kafka, records[3 * quarter :])
    worker = start_worker(tmp_path, kafka, redis, 3)
    wait_for(store, len(records) + REFUSED, worker)
    wait_for_learning(kafka, store, worker)
    assert worker.stop(60.0) == 0

    assert_exact(store, records, REFUSED)
    assert_once(kafka, records)


def paused(process):
    """True once the kernel has stopped it."""
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state in {"T", "t"}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_wakes_up_after_its_session_changes_nothing(servers, records, tmp_path, when):
    """Its transaction is fenced, so are its writes to Redis; it says so, and rejoins or ends."""
    kafka, redis = servers
    store = redis_client.Redis.from_url(redis)
    produce(kafka, poison(REFUSED) + records[: len(records) // 2])
    zombie = start_worker(tmp_path, kafka, redis, 1, stopped(when, "SIGSTOP"))
    deadline = time.monotonic() + 120
    while not paused(zombie.process):
        assert time.monotonic() < deadline, zombie.tail()
        time.sleep(0.05)
    assert when == "after" or in_flight(kafka, "ml.examples") > 0, "nothing was in flight"

    heir = start_worker(tmp_path, kafka, redis, 2)
    produce(kafka, records[len(records) // 2 :])
    wait_for(store, len(records) + REFUSED, heir)
    fences = {key: int(store.get(key)) for key in store.keys("sendtide:1:fence:*")}
    zombie.process.send_signal(signal.SIGCONT)
    time.sleep(8.0)
    wait_for_learning(kafka, store, heir)

    assert "was paused for" in zombie.log.read_text(), zombie.tail()
    assert all(int(store.get(key)) >= epoch for key, epoch in fences.items())
    for worker in (heir, zombie):
        worker.stop(60.0)
    assert_exact(store, records, REFUSED)
    assert_once(kafka, records)
