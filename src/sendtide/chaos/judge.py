"""The oracles: what the program says it did, against a recount of what the broker acknowledged.

- O1, the ledger: buckets, events per client and kind, sends and opens per recipient, answers and
  dead letters; all from Redis and the output topics, against `recount`.
- O2, the replay: each partition's last snapshot has the digest of a clean replay of its log, and
  the clean replay makes as many example rows as stage B has applied.
- O3, the order: see `watch`; at the end snapshots are of the whole log, offsets not ahead of them.

An output topic may hold a record twice after a crash where no transaction covers it; readers tell
by its deterministic id, and so does the judge.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from sendtide.chaos.recount import Record, Recount, recount
from sendtide.chaos.replay import replayed
from sendtide.events.records import unpack_recipients
from sendtide.events.topics import DEAD_LETTERS, EXAMPLES, INPUTS, PREDICTIONS, SENDS
from sendtide.pipeline import Pipeline
from sendtide.sinks.topics import dead_letter_headers
from sendtide.stages.snapshots import snapshot_store
from sendtide.transport import partition_of

__all__ = ["Verdict", "expectation", "judge", "read_all", "taken_in", "totals"]

_BUCKETS: Final = ("in", "applied", "duplicate", "late", "dead_letter", "erased")
_READ_S: Final = 20.0


@dataclass(slots=True)
class Verdict:
    """lost, double: how far below and above the recount the program is, over all counts."""

    lost: int = 0
    double: int = 0
    order_ok: bool = True
    digest_ok: bool | None = None
    findings: list[str] = field(default_factory=list)

    def compare(self, what: str, expected: Counter[Any], found: Counter[Any]) -> None:
        """Add the differences of two counts."""
        below, above = expected - found, found - expected
        self.lost += below.total()
        self.double += above.total()
        for name, difference in (("lost", below), ("double", above)):
            if difference:
                self.findings.append(f"{what}: {name} {dict(difference.most_common(3))}")


def expectation(records: Sequence[Record], pipeline: Pipeline) -> Recount:
    """Recount with the rules of the pipeline."""
    now_ms = time.time_ns() // 1_000_000  # the topics' timestamps are of arrival
    partitions = pipeline.topics.partitions
    lateness = (pipeline.sends, pipeline.engagements, pipeline.requests)
    return recount(
        ((topic, key, value, now_ms) for topic, key, value, _ in records),
        horizon_ms=pipeline.join.horizon_ms - 1,
        machine_within_ms=pipeline.join.machine_within_ms,
        lateness_ms={
            t.name: rule.allowed_lateness_ms for t, rule in zip(INPUTS, lateness, strict=True)
        },
        partition=lambda key: partition_of(key, partitions),
    )


def judge(
    kafka: str,
    store: Any,
    pipeline: Pipeline,
    group: str,
    snapshots: str,
    records: Sequence[Record],
    *,
    replay: bool = True,
) -> Verdict:
    """Compare everything that can be read from outside, once all workers have ended."""
    verdict, expected = Verdict(), expectation(records, pipeline)
    _ledger(verdict, store, pipeline, expected)
    _outputs(verdict, kafka, pipeline, expected, records)
    _ends(verdict, kafka, pipeline, group, snapshots)
    if replay:
        clean = replayed(kafka, pipeline, snapshots)
        verdict.digest_ok = not clean.different
        verdict.findings += [f"partition {n}: digest differs" for n in clean.different]
        applied = Counter(examples=totals(store, pipeline, EXAMPLES.name)["applied"])
        verdict.compare("ml.examples", Counter(examples=clean.examples), applied)
    return verdict


def taken_in(store: Any, pipeline: Pipeline) -> int:
    """Records the gates have taken in, as published."""
    return sum(totals(store, pipeline, topic.name)["in"] for topic in INPUTS)


def totals(store: Any, pipeline: Pipeline, topic: str) -> Counter[str]:
    """Published counts of a topic, summed over its partitions."""
    found: Counter[str] = Counter()
    for name, number in store.hgetall("sendtide:1:totals").items():
        place, _, count = name.decode().rpartition(":")
        if place.rpartition("/")[0] == pipeline.topics.prefix + topic:
            found[count] += int(number)
    return found


def _ledger(verdict: Verdict, store: Any, pipeline: Pipeline, expected: Recount) -> None:
    for topic in INPUTS:
        buckets = Counter(expected.buckets[topic.name])
        buckets["in"] = buckets.total()
        found = totals(store, pipeline, topic.name)
        verdict.compare(topic.name, buckets, Counter({name: found[name] for name in _BUCKETS}))
    verdict.compare("clients", _kinds(expected), _published_kinds(store, pipeline, expected))
    sends, opens, records_found = Counter[Any](), expected.opens_of(), Counter[Any]()
    for identity, (who, _) in expected.sent.items():
        sends[who] += identity not in expected.bounced
    wanted: Counter[Any] = Counter()
    for who in {who for who, _ in expected.sent.values()}:
        wanted[who, "sends"], wanted[who, "opens"] = sends[who], opens[who]
        value = store.get(f"sendtide:1:{{{who[0]}}}:recipient:{who[1]}")
        if value is not None:
            row = unpack_recipients(value)[0]
            records_found[who, "sends"] = int(row["sends"])
            records_found[who, "opens"] = int(row["opens"])
    verdict.compare("recipients", wanted, records_found)


def _kinds(expected: Recount) -> Counter[Any]:
    return Counter(
        {
            (client, kind): number
            for client, kinds in expected.clients.items()
            for kind, number in kinds.items()
            if kind != "request"
        }
    )


def _published_kinds(store: Any, pipeline: Pipeline, expected: Recount) -> Counter[Any]:
    found: Counter[Any] = Counter()
    prefix = pipeline.topics.prefix
    kinds = {kind for _, kind in _kinds(expected)}
    for client in expected.clients:
        for name, number in store.hgetall(f"sendtide:1:{{{client}}}:counts").items():
            place, _, count = name.decode().rpartition(":")
            topic = place.rpartition("/")[0].removeprefix(prefix)
            if topic == SENDS.name and count == "applied":
                found[client, "send"] += int(number)
            elif topic == "email.engagements" and count in kinds:
                found[client, count] += int(number)
    return found


def _outputs(
    verdict: Verdict, kafka: str, pipeline: Pipeline, expected: Recount, records: Sequence[Record]
) -> None:
    answers = {json.loads(m.value())["id"] for m in read_all(kafka, pipeline, PREDICTIONS.name)}
    asked = expected.buckets["email.requests"]["applied"]
    verdict.compare("answers", Counter(answers=asked), Counter(answers=len(answers)))
    letters: dict[tuple[str, int, int], tuple[bytes | None, bytes | None]] = {}
    for message in read_all(kafka, pipeline, DEAD_LETTERS.name):
        headers = dead_letter_headers(message.headers() or [])
        place = (headers.topic, headers.partition, headers.offset)
        letters[place] = (message.key(), message.value())
    planted = sum(buckets["dead_letter"] for buckets in expected.buckets.values())
    verdict.compare("dead letters", Counter(letters=planted), Counter(letters=len(letters)))
    produced = {(key, value) for _, key, value, _ in records}
    changed = sum(letter not in produced for letter in letters.values())
    verdict.compare("dead letters' bytes", Counter(), Counter(changed=changed))


def _ends(verdict: Verdict, kafka: str, pipeline: Pipeline, group: str, snapshots: str) -> None:
    """The last snapshots are of the whole log, and the group's offsets where they are.

    An offset that stays behind would cost nothing, the snapshot is the truth; but whoever watches
    the group's lag would see work where there is none.
    """
    settings: dict[str, Any] = {"bootstrap.servers": kafka, "group.id": group}
    reader = Consumer({**settings, "enable.partition.eof": True, "enable.auto.commit": False})
    stages = {"recipients": INPUTS, "clients": (EXAMPLES,)}
    try:
        for stage, topics in stages.items():
            store = snapshot_store(pipeline, stage, url=snapshots)
            for number in range(pipeline.topics.partitions_of(topics[0])):
                newest = store.newest(number)
                written = newest[0].offsets if newest else {}
                places = [TopicPartition(pipeline.topics.full_name(t), number) for t in topics]
                for place in reader.committed(places, timeout=_READ_S):
                    reached = written.get(place.topic, 0)
                    end = reader.get_watermark_offsets(place, timeout=_READ_S)[1]
                    if reached < end and not _has_record(reader, place, reached):
                        end = reached  # what is left are markers of transactions
                    _end(verdict, place, reached, end)
    finally:
        reader.close()


def _has_record(reader: Consumer, place: TopicPartition, offset: int) -> bool:
    reader.assign([TopicPartition(place.topic, place.partition, offset)])
    message = reader.poll(_READ_S)
    reader.unassign()
    return message is not None and message.error() is None


def _end(verdict: Verdict, committed: TopicPartition, written: int, end: int) -> None:
    where = f"{committed.topic}/{committed.partition}"
    if not written == end == max(0, committed.offset):
        verdict.order_ok = False
        verdict.findings.append(
            f"{where}: committed {committed.offset}, snapshot {written}, end {end}"
        )


def read_all(kafka: str, pipeline: Pipeline, topic: str) -> Iterator[Any]:
    """Every committed message of a topic."""
    name = pipeline.topics.prefix + topic
    settings: dict[str, Any] = {"bootstrap.servers": kafka, "group.id": "judge"}
    settings |= {"enable.partition.eof": True, "enable.auto.commit": False}
    settings["log_level"] = 2
    reader = Consumer({**settings, "isolation.level": "read_committed"})
    partitions = reader.list_topics(name, timeout=_READ_S).topics[name].partitions
    reader.assign([TopicPartition(name, number, 0) for number in partitions])
    left = len(partitions)
    try:
        while left:
            message = reader.poll(_READ_S)
            if message is None:
                msg = f"{name} cannot be read to its end within {_READ_S} s"
                raise RuntimeError(msg)
            if message.error():
                left -= 1
            else:
                yield message
    finally:
        reader.close()
