"""Producing and simulating onto a real broker, read back to the byte."""

from __future__ import annotations

import json

import orjson
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from sendtide.commands.deployment import create_missing, topic_specs
from sendtide.commands.own_pipeline import own_pipeline
from sendtide.events.topics import ENGAGEMENTS, INPUTS, SENDS
from sendtide.transport import partition_of

NOW_MS = 1_790_000_000_000
WHO = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def pipeline(cluster, tmp_path):
    """A pipeline with fresh topics: (its file, itself)."""
    path, pipeline = own_pipeline(tmp_path, "sending", partitions=3)
    create_missing(cluster.kafka, topic_specs(pipeline))
    return str(path), pipeline


def stored(cluster, pipeline):
    """Everything in the input topics: topic to messages.

    Read until nothing more comes: the embedded broker's end offsets fall short of its records.
    """
    consumer = Consumer({**cluster.kafka.client(), "group.id": "test"})
    names = {pipeline.topics.full_name(topic): topic for topic in INPUTS}
    numbers = range(pipeline.topics.partitions)
    consumer.assign([TopicPartition(name, n, OFFSET_BEGINNING) for name in names for n in numbers])
    found = {topic: [] for topic in INPUTS}
    while messages := consumer.consume(100_000, 1.5):
        for message in messages:
            found[names[message.topic()]].append(message)
    consumer.close()
    return found


def line(**changed):
    """A send as a line."""
    event = {
        "version": "1.0",
        "source": "test",
        "id": "m-1",
        "client_id": "acme",
        "recipient_id": WHO,
        "event_time_ms": NOW_MS,
    }
    return orjson.dumps({**event, **changed}) + b"\n"


def test_lines_become_records_at_their_keys_place(program, cluster, pipeline):
    """Each line lands in its topic and partition, its bytes and time unaltered."""
    file, deployment = pipeline
    lines = line() + b"\n" + line(id="m-2", message_id="m-1", kind="open")
    options = ["--kafka", cluster.kafka.brokers, "--pipeline", file, "--json", "-"]
    ended = program("produce", "-", *options, "--archive", stdin=lines)
    assert ended.exit_code == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["lines"] == 3
    assert told["blank"] == 1
    assert told["taken"] == {SENDS.name: 1, ENGAGEMENTS.name: 1}
    records = stored(cluster, deployment)
    send = records[SENDS][0]
    assert send.value() == line().strip()
    assert send.key() == f"acme:{WHO}".encode()
    assert send.partition() == partition_of(send.key(), 3)
    assert send.timestamp()[1] == NOW_MS
    assert len(records[ENGAGEMENTS]) == 1


def test_rejected_lines_are_kept_and_are_exit_1(program, cluster, pipeline, tmp_path):
    """What is no event is told with its line and kept byte for byte; the rest is sent."""
    file, deployment = pipeline
    source, kept = tmp_path / "events.ndjson", tmp_path / "rejected.ndjson"
    source.write_bytes(b"{nonsense\n" + line())
    options = ["--kafka", cluster.kafka.brokers, "--pipeline", file]
    ended = program("produce", str(source), *options, "--rejects", str(kept))
    assert ended.exit_code == 1
    assert "line 1" in ended.stderr
    assert kept.read_bytes() == b"{nonsense\n"
    assert len(stored(cluster, deployment)[SENDS]) == 1


def test_an_address_without_a_key_is_refused(program, cluster, pipeline):
    """An address is never sent as it is: without a key to hash it, nothing is."""
    file, deployment = pipeline
    event = {k: v for k, v in orjson.loads(line()).items() if k != "recipient_id"}
    lines = orjson.dumps({**event, "address": "someone@example.com"})
    options = ["--kafka", cluster.kafka.brokers, "--pipeline", file]
    ended = program("produce", *options, stdin=lines)
    assert ended.exit_code == 2
    assert "SENDTIDE_PSEUDONYM_KEY" in ended.stderr
    assert not stored(cluster, deployment)[SENDS]


def test_a_simulation_sends_what_it_says(program, cluster, pipeline):
    """The number told is the number stored; trouble asked for is among it, keys decide places."""
    file, deployment = pipeline
    options = ["--kafka", cluster.kafka.brokers, "--pipeline", file, "--json", "-"]
    ended = program(
        "simulate", *options, "--history", "20000", "--spoil", "--recipients", "500",
        "--reaction-speed", "600",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.stderr
    told = json.loads(ended.stdout)
    records = stored(cluster, deployment)
    assert sum(map(len, records.values())) == told["events"]
    assert 15_000 < told["events"] < 25_000
    tombstones = sum(message.value() is None for message in records[SENDS])
    assert tombstones == told["planted"]["erasures"] > 0
    assert told["planted"][SENDS.name]["duplicate"] > 0
    messages = records[SENDS] + records[ENGAGEMENTS]
    assert all(message.partition() == partition_of(message.key(), 3) for message in messages)


def test_the_live_part_ends_by_itself(program, cluster, pipeline):
    """`--for` ends the live part; its records carry the present time."""
    file, _ = pipeline
    options = ["--kafka", cluster.kafka.brokers, "--pipeline", file, "--json", "-"]
    ended = program("simulate", *options, "--live", "2000", "--for", "0.6", "--recipients", "300")
    assert ended.exit_code == 0, ended.stderr
    assert 0 < json.loads(ended.stdout)["events"] < 10_000
