"""The whole program on real servers: workers as processes, records in, a recount to compare with.

The recount is plain Python over the produced bytes and shares no code with the package.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict

from confluent_kafka import Producer

from sendtide.events.records import unpack_recipients
from sendtide.local import start_program

HORIZON_MS = 3 * 86_400_000


def start_worker(folder, kafka, redis, number, program=("-m", "sendtide.commands")):
    command = [sys.executable, *program, "worker", "--kafka", kafka]
    command += ["--redis", redis, "--pipeline", str(folder / "p.toml"), "--session-timeout", "6"]
    command += ["--snapshots", str(folder / "snapshots"), "--name", f"worker-{number}"]
    return start_program(f"worker-{number}", command, address="", logs=folder)


def produce(kafka, records):
    # Idempotent: a plain producer's retry may store a record twice or behind its successors, which
    # the program would rightly count as a duplicate, or as late, and a recount would not know.
    settings = {"partitioner": "murmur2_random", "enable.idempotence": True}
    settings["max.in.flight.requests.per.connection"] = 1
    producer = Producer({"bootstrap.servers": kafka, **settings})
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


def wait_for(store, count, *workers, timeout_s=120.0):
    """Until so many records were taken in; the workers must live all the while."""
    deadline = time.monotonic() + timeout_s
    while totals(store)["in"] < count:
        for worker in workers:
            assert worker.running, worker.tail()
        assert time.monotonic() < deadline, (totals(store), [w.tail() for w in workers])
        time.sleep(0.05)


def published_kinds(store, clients):
    """Per (client, kind of event): what readers are told."""
    found = Counter()
    for client in clients:
        for field, number in store.hgetall(f"sendtide:1:{{{client}}}:counts").items():
            place, _, name = field.decode().rpartition(":")
            if place.startswith("email.engagements"):
                found[client, name] += int(number)
            elif name == "applied":
                found[client, "send"] += int(number)
    return found


def assert_exact(store, records, refused=0):
    """State and published counts per client and recipient equal the recount of what was sent."""
    counts = totals(store)
    assert counts["applied"] == len(records), (counts, len(records))
    assert counts["in"] - counts["applied"] == counts["dead_letter"] == refused, counts
    people, kinds = recount(records)
    published = published_kinds(store, {client for client, _ in kinds})
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
