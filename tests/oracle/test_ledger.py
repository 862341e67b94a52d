"""The recount itself: its rules by hand, and its judgement of bodies against the gate's."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.chaos.recount import recount
from sendtide.events.batch import Names
from sendtide.gate import EngagementGate, RequestGate, SendGate

TIME_MS = 1_700_000_000_000
RECIPIENT = "0123456789abcdef" * 2
KEY = f"c1:{RECIPIENT}".encode()
SENDS, ENGAGEMENTS, REQUESTS = "email.sends", "email.engagements", "email.requests"
COMMON = {
    "version": "1.0",
    "source": "esp",
    "id": "a1",
    "client_id": "c1",
    "recipient_id": RECIPIENT,
    "event_time_ms": TIME_MS,
}
GOOD = {
    SENDS: {**COMMON, "campaign_id": "x", "segment": "new", "timezone": "Asia/Tokyo", "words": 12},
    ENGAGEMENTS: {**COMMON, "message_id": "m1", "kind": "open", "machine": False, "revenue": 1.5},
    REQUESTS: {**COMMON, "window_start_ms": TIME_MS, "window_end_ms": TIME_MS + 1},
}
GATES = {SENDS: SendGate, ENGAGEMENTS: EngagementGate, REQUESTS: RequestGate}


def send(identifier, at_ms=TIME_MS, recipient=RECIPIENT):
    body = {**COMMON, "id": identifier, "recipient_id": recipient, "event_time_ms": at_ms}
    return SENDS, f"c1:{recipient}".encode(), json.dumps(body).encode(), at_ms


def engagement(identifier, message, kind, after_ms, **more):
    at_ms = TIME_MS + after_ms
    body = {**COMMON, "id": identifier, "message_id": message, "kind": kind, **more}
    return ENGAGEMENTS, KEY, json.dumps({**body, "event_time_ms": at_ms}).encode(), at_ms


def test_a_repeat_counts_once_per_topic():
    """The same identity is a duplicate on its topic and new on another."""
    found = recount([send("a"), send("a"), engagement("a", "a", "open", 5)])

    assert found.buckets[SENDS] == {"applied": 1, "duplicate": 1}
    assert found.buckets[ENGAGEMENTS] == {"applied": 1}
    assert found.recipients["c1", RECIPIENT] == {"send": 1, "open": 1}
    assert found.clients["c1"] == {"send": 1, "open": 1}


def test_who_is_forgotten_is_erased_and_nobody_else():
    """After a tombstone, the recipient's records are erased; others' are applied."""
    other = "f" * 32
    records = [send("a"), (SENDS, KEY, None, TIME_MS), send("b"), send("c", recipient=other)]

    assert recount(records).buckets[SENDS] == {"applied": 3, "erased": 1}


def test_late_is_judged_per_partition_against_the_newest_before():
    """Exactly at the watermark is on time, a millisecond below is late; other partitions differ."""
    times = [TIME_MS, TIME_MS - 1_000, TIME_MS - 1_001]
    records = [send(str(i), at_ms) for i, at_ms in enumerate(times)]
    late = recount(records, lateness_ms={SENDS: 1_000}, partition=lambda _: 0)
    records = [send(str(i), at_ms, f"{i:032x}") for i, at_ms in enumerate(times)]
    apart = recount(records, lateness_ms={SENDS: 1_000}, partition=lambda key: key)

    assert late.buckets[SENDS] == {"applied": 2, "late": 1}
    assert apart.buckets[SENDS] == {"applied": 3}


def test_labels_are_human_opens_within_the_horizon():
    """Machine opens, opens too late, and opens of unknown messages label nothing."""
    week_ms = 7 * 86_400_000
    records = [
        *(send(name) for name in "abcde"),
        engagement("1", "a", "open", 60_000),
        engagement("2", "a", "open", 61_000),
        engagement("3", "b", "open", 2_000, machine=True),
        engagement("4", "c", "open", week_ms + 1),
        engagement("5", "d", "open", week_ms),
        engagement("6", "e", "click", 19_000),
        engagement("7", "?", "open", 9_000),
    ]
    found = recount(records)

    assert found.opened == {("esp", "a"), ("esp", "d")}
    assert found.clicked == {("esp", "e")}
    assert found.opens_of() == {("c1", RECIPIENT): 2}


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.integers(-2, 70_000),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.sampled_from(["open", "Europe/Paris", "Mars/Base", "2.0", "1.7", "1.12345", "0.1", "a" * 64,
                     "a" * 65, "b" * 129, "-a", "é", "A" * 32, TIME_MS + 10**9, 946_684_799_999,
                     4_102_444_800_000, 10_000_000.5, [], {}, [1]]),
)  # fmt: skip


def accepted_by_gate(topic, value, key):
    names = {name: Names() for name in ("clients", "sources", "segments", "zones")}
    gate = GATES[topic](max_future_ms=300_000, **names)
    batch, refused = gate.read([value], [key], np.zeros(1, np.int64), np.full(1, TIME_MS))
    assert len(batch) + len(refused) == 1
    return len(batch) == 1


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(GOOD)).flatmap(
        lambda topic: st.tuples(
            st.just(topic),
            st.sampled_from([*GOOD[topic], "links", "segment", "timezone", "unheard_of"]),
            JSON_VALUES,
            st.booleans(),
        )
    )
)
def test_recount_and_gate_agree_on_what_is_a_good_record(change):
    """Two independent readings of the rules take and refuse the same bodies."""
    topic, field, value, remove = change
    body = {**GOOD[topic], field: value}
    if remove:
        del body[field]
    written = json.dumps(body).encode()
    bucket = next(iter(recount([(topic, KEY, written, TIME_MS)]).buckets[topic]))

    assert (bucket == "applied") == accepted_by_gate(topic, written, KEY)


@pytest.mark.parametrize("topic", sorted(GOOD))
@pytest.mark.parametrize("change", [b"", b"{", b"[1]", b"null", b'{"a":NaN}', b"\xff", b"{}"])
def test_bytes_that_are_no_event_are_dead_letters(topic, change):
    """The recount refuses what is no event at all."""
    assert recount([(topic, KEY, change, TIME_MS)]).total() == {"dead_letter": 1, "in": 1}


@pytest.mark.parametrize("topic", sorted(GOOD))
def test_a_wrong_key_is_a_dead_letter(topic):
    """A good body under another's key, or none, is refused."""
    value = json.dumps(GOOD[topic]).encode()

    for key in (None, b"", b"c1:" + b"f" * 32, KEY + b" "):
        assert recount([(topic, key, value, TIME_MS)]).buckets[topic] == {"dead_letter": 1}
    assert recount([(topic, KEY, value, TIME_MS)]).buckets[topic] == {"applied": 1}
