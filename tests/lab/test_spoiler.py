"""Planted trouble is counted exactly, and is what it claims to be."""

from collections import Counter

import numpy as np
import pytest

from sendtide.chaos.recount import recount
from sendtide.connectors import partition_of
from sendtide.events.batch import Names
from sendtide.gate import EngagementGate, RequestGate, SendGate
from sendtide.lab import POISONS, Scenario, Spoiler, event_records

HOUR_MS = 3_600_000
SCENARIO = Scenario(seed=4, clients=20, recipients=400)


def spoilt(**shares):
    spoiler = Spoiler(seed=9, lateness_ms=6 * HOUR_MS, **shares)
    clean = list(event_records(20_000, SCENARIO, days=14))
    return clean, [spoiler.spoil(batch) for batch in clean], spoiler.planted


@pytest.mark.parametrize("partitions", [1, 8, 64])
def test_planted_counts_are_what_an_independent_recount_finds(partitions):
    """Duplicates, late ones and poison are found in exactly the planted numbers."""
    clean, batches, planted = spoilt(duplicate=0.05, late=0.02, poison=0.02)
    found = recount(
        (record for batch in batches for record in batch),
        lateness_ms=dict.fromkeys(("email.sends", "email.engagements"), 6 * HOUR_MS),
        partition=lambda key: partition_of(key, partitions),
    )

    assert set(planted) == {"email.sends", "email.engagements", "email.requests"}
    for topic, counts in planted.items():
        poison = sum(counts[reason] for reason in POISONS)
        assert found.buckets[topic]["duplicate"] == counts["duplicate"]
        assert found.buckets[topic]["late"] == counts["late"]
        assert found.buckets[topic]["dead_letter"] == poison
    assert found.total()["applied"] == sum(map(len, clean))
    assert found.total()["late"] > 200


def test_nothing_good_is_lost_or_reordered():
    """Without what was planted, the stream is the one before."""
    clean, batches, _ = spoilt(duplicate=0.1, late=0.05, poison=0.05)
    for before, after in zip(clean, batches, strict=True):
        rest = iter(list(after))

        assert all(record in rest for record in before)
        assert np.all(np.diff(after.timestamps_ms) >= 0)


def test_gate_gives_every_poison_its_reason():
    """The gate refuses each planted record for the reason it was planted for, and no other."""
    _, batches, planted = spoilt(duplicate=0.0, late=0.0, poison=0.1)
    gates = {
        "email.sends": SendGate,
        "email.engagements": EngagementGate,
        "email.requests": RequestGate,
    }
    for topic, gate_type in gates.items():
        names = {name: Names() for name in ("clients", "sources", "segments", "zones")}
        parts = [batch.by_topic()[topic] for batch in batches]
        keys, values = ([x for p in parts for x in p[i]] for i in (0, 1))
        stamps = np.concatenate([p[2] for p in parts])
        gate = gate_type(max_future_ms=300_000, **names)
        _, refused = gate.read(values, keys, np.arange(len(keys)), stamps)

        assert Counter(r.reason for r in refused) == planted[topic]
        assert set(planted[topic]) == set(POISONS) or topic == "email.requests"
