"""A worker killed with SIGKILL under load loses nothing and counts nothing twice, on Apache Kafka.

The judge is a recount of the produced bytes in plain Python, which shares no code with the package.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict

import pytest
import redis as redis_client
from confluent_kafka import Producer

from sendtide.commands.deployment import topic_specs
from sendtide.events.records import unpack_recipients
from sendtide.lab import Scenario, event_records
from sendtide.local import start_program, start_valkey
from sendtide.local.kafka import start_kafka
from sendtide.pipeline import load_pipeline
from sendtide.transport import create_topics

EVENTS = 120_000
KILLS = 3
PARTITIONS = 4
HORIZON_MS = 3 * 86_400_000
PIPELINE = f"""
[topics]
partitions = {PARTITIONS}
[join]
horizon = "3d"
[snapshots]
interval = "1s"
"""


@pytest.fixture
def servers(tmp_path):
    """Apache Kafka and Valkey on loopback, ended by pid."""
    if shutil.which("mvn") is None or shutil.which("java") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Maven and Java")
        pytest.skip("Apache Kafka needs Maven and Java")
    kafka, valkey = start_kafka(tmp_path / "kafka"), start_valkey(tmp_path)
    yield kafka[0].address, valkey.address
    for server in (*kafka, valkey):
        server.stop(30.0)


def start_worker(folder, kafka, redis, number):
    command = [sys.executable, "-m", "sendtide.commands", "worker", "--kafka", kafka]
    command += ["--redis", redis, "--pipeline", str(folder / "p.toml"), "--session-timeout", "6"]
    command += ["--snapshots", str(folder / "snapshots"), "--name", f"worker-{number}"]
    return start_program(f"worker-{number}", command, address="", logs=folder)


def produce(kafka, records):
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    for topic, key, value, timestamp in records:
        while True:
            try:
                producer.produce(topic, value, key, timestamp=timestamp)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(60) == 0


def recount(records):
    """Per (client, recipient): sends that did not bounce and those opened by a person in time."""
    sent, owner, opened, bounced = {}, {}, defaultdict(set), set()
    kinds = Counter()
    for topic, _, value, _ in records:
        event = json.loads(value)
        who = (event["client_id"], event["recipient_id"])
        kinds[event["client_id"], event.get("kind", "send")] += 1
        if topic == "email.sends":
            sent[event["id"]], owner[event["id"]] = event["event_time_ms"], who
    for topic, _, value, _ in records:
        event = json.loads(value)
        message = event.get("message_id")
        if topic != "email.engagements" or message not in sent:
            continue
        inside = 0 <= event["event_time_ms"] - sent[message] < HORIZON_MS
        if inside and event["kind"] == "open" and not event.get("machine"):
            opened[owner[message]].add(message)
        if inside and event["kind"] == "bounce":
            bounced.add(message)
    people = defaultdict(lambda: [0, 0])
    for message, who in owner.items():
        if message not in bounced:
            people[who][0] += 1
            people[who][1] += message in opened[who]
    return people, kinds


def totals(store):
    out = Counter()
    for field, number in store.hgetall("sendtide:1:totals").items():
        place, _, name = field.decode().rpartition(":")
        if place.startswith("email."):
            out[name] += int(number)
    return out


def wait_for(store, count, worker, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while totals(store)["in"] < count:
        assert worker.running, worker.tail()
        assert time.monotonic() < deadline, (totals(store), worker.tail())
        time.sleep(0.05)


def test_three_kills_under_load_leave_an_exact_ledger(servers, tmp_path):
    """State and published counts per client and recipient equal the recount of what was sent."""
    kafka, redis = servers
    (tmp_path / "p.toml").write_text(PIPELINE)
    pipeline = load_pipeline(tmp_path / "p.toml")
    create_topics({"bootstrap.servers": kafka}, topic_specs(pipeline))
    scenario = Scenario(seed=5, clients=40, recipients=8_000, request_share=0)
    records = [row for part in event_records(EVENTS, scenario) for row in part]
    store = redis_client.Redis.from_url(redis)

    killed_at = []
    worker = start_worker(tmp_path, kafka, redis, 0)
    for number in range(KILLS):
        parts = KILLS + 1
        share = slice(number * len(records) // parts, (number + 1) * len(records) // parts)
        produce(kafka, records[share])
        wait_for(store, share.start + (share.stop - share.start) // 4, worker)
        killed_at.append(totals(store)["in"])
        worker.process.send_signal(signal.SIGKILL)
        assert worker.process.wait() == -signal.SIGKILL
        worker = start_worker(tmp_path, kafka, redis, number + 1)
    produce(kafka, records[share.stop :])
    wait_for(store, len(records), worker)
    time.sleep(2.0)
    worker.stop(60.0)

    counts = totals(store)
    assert any(at < (n + 1) * len(records) // (KILLS + 1) for n, at in enumerate(killed_at)), (
        "no kill fell into work in flight"
    )
    assert counts["in"] == counts["applied"] == len(records)
    people, kinds = recount(records)
    published = Counter()
    for client in {client for client, _ in kinds}:
        for field, number in store.hgetall(f"sendtide:1:{{{client}}}:counts").items():
            place, _, name = field.decode().rpartition(":")
            if place.startswith("email.engagements"):
                published[client, name] += int(number)
            elif name == "applied":
                published[client, "send"] += int(number)
    assert {key: published[key] for key in kinds} == dict(kinds)
    wrong = {
        who: (expected, found)
        for who, expected in people.items()
        if (found := record(store, who)) not in (expected, None if expected == [0, 0] else expected)
    }
    assert not wrong, f"{len(wrong)} of {len(people)} recipients differ: {list(wrong.items())[:5]}"


def record(store, who):
    """[sends, opens] of a recipient's record; None if it has none yet."""
    value = store.get(f"sendtide:1:{{{who[0]}}}:recipient:{who[1]}")
    if value is None:
        return None
    row = unpack_recipients(value)[0]
    return [int(row["sends"]), int(row["opens"])]
