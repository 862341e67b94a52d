"""Sorting a fetch by partition."""

from __future__ import annotations

from collections import Counter

from confluent_kafka import Consumer, TopicPartition

from sendtide.transport.runs import OVERHEAD_BYTES, split_into_runs


def test_a_fetch_becomes_one_ordered_run_for_each_partition(broker):
    """However partitions alternate in the fetch, nothing is lost and offsets rise."""
    topics = [broker.topic(3), broker.topic(3)]
    for topic in topics:
        broker.fill(topic, {p: [b"%d" % n for n in range(100)] for p in range(3)})
    client = Consumer({**broker.config, "group.id": "runs"})
    client.assign([TopicPartition(t, p, 0) for t in topics for p in range(3)])
    messages = []
    while len(messages) < 600:
        messages += client.consume(600, 0.2)
    client.close()
    mixed = [m for n in range(7) for m in messages[n::7]]
    mixed.sort(key=lambda m: m.offset())  # alternates partitions at every message
    runs = split_into_runs(mixed)
    assert Counter(p for p, _, _ in runs) == {(t, p): 1 for t in topics for p in range(3)}
    for (topic, partition), run, size in runs:
        assert {(m.topic(), m.partition()) for m in run} == {(topic, partition)}
        assert [m.offset() for m in run] == list(range(100))
        assert size == sum(len(m.value()) for m in run) + OVERHEAD_BYTES * 100
    assert split_into_runs([]) == []
