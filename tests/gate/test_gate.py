"""Every record comes out once, as a row or as a refusal that says why."""

import json

import numpy as np
import pytest

from sendtide.events import user_agents
from sendtide.events.batch import Names
from sendtide.events.hashing import hash_identity, hash_text
from sendtide.events.messages import (
    CONTENT_LIMITS,
    ENGAGEMENT_KINDS,
    MAX_RECORD_BYTES,
    MAX_TIME_MS,
    MAX_USER_AGENT,
    MAX_WINDOW_MS,
    MIN_TIME_MS,
)
from sendtide.gate import EngagementGate, RequestGate, SendGate

from .records import (
    ENGAGEMENT,
    INPUTS,
    KEY,
    MAX_FUTURE_MS,
    NOW_MS,
    RECIPIENT,
    REQUEST,
    SEND,
    assert_same_rows,
    encoded,
    make_gate,
    read,
)

BOTH = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "authority"])
GATES = pytest.mark.parametrize("kind", list(INPUTS), ids=lambda kind: kind.__name__)


@BOTH
def test_a_send_becomes_a_row_with_all_its_columns(compiled):
    """Hashes, halves of the recipient id, times and content stand where batch.py says."""
    batch, refused = read(make_gate(SendGate, compiled=compiled), [encoded(SEND)])
    assert not refused
    assert batch.offset.tolist() == [100]
    assert batch.timestamp_ms.tolist() == batch.event_time_ms.tolist() == [NOW_MS]
    assert batch.identity.tolist() == [hash_identity("esp-main", "m-1")]
    assert batch.source.tolist() == [hash_text("esp-main")]
    assert batch.client.tolist() == [hash_text("c42")]
    assert batch.recipient.tolist() == [[0x0123456789ABCDEF, 0x0123456789ABCDEF]]
    assert batch.zone.tolist() == [hash_text("Europe/Paris")]
    assert batch.segment.tolist() == [hash_text("new")]
    assert batch.content.tolist() == [[40, 300, 12, 3, 0]]
    assert batch.erase.tolist() == [0]


@BOTH
@pytest.mark.parametrize("kind_code", range(len(ENGAGEMENT_KINDS)))
def test_an_engagement_points_at_its_send(compiled, kind_code):
    """`message` equals the send's identity; the kind is its place in ENGAGEMENT_KINDS."""
    gate = make_gate(EngagementGate, compiled=compiled)
    batch, refused = read(gate, [encoded(ENGAGEMENT, kind=ENGAGEMENT_KINDS[kind_code])])
    assert not refused
    assert batch.message.tolist() == [hash_identity("esp-main", "m-1")]
    assert batch.identity.tolist() == [hash_identity("esp-main", "e-1")]
    assert batch.kind.tolist() == [kind_code]
    assert batch.revenue.tolist() == [12.34]


@BOTH
@pytest.mark.parametrize(("machine", "code"), [(..., 0), (None, 0), (False, 1), (True, 2)])
def test_machine_opens_are_told_from_unknown_ones(compiled, machine, code):
    """Absent is not the same as human."""
    gate = make_gate(EngagementGate, compiled=compiled)
    batch, _ = read(gate, [encoded(ENGAGEMENT, machine=machine)])
    assert batch.machine.tolist() == [code]


@BOTH
@pytest.mark.parametrize("machine", [..., None, False, True])
@pytest.mark.parametrize(
    ("agent", "told"),
    [
        *((nothing, False) for nothing in (..., None, "", "x" * MAX_USER_AGENT)),
        *((name, True) for name in ("Mozilla/5.0", "Barracuda Sentinel (EE)", "curl/8.5.0")),
    ],
)
def test_a_machines_user_agent_marks_whatever_the_provider_says(compiled, machine, agent, told):
    """The first record of an agent as much as its next, in this chunk and in another."""
    gate = make_gate(EngagementGate, compiled=compiled)
    value = encoded(ENGAGEMENT, machine=machine, user_agent=agent)
    for _ in range(2):
        batch, refused = read(gate, [value, encoded(ENGAGEMENT), value.replace(b"/", rb"\/")])
        assert not refused
        own = {..., None}.isdisjoint({machine}) and 1 + machine
        assert batch.machine.tolist() == [2 if told else own, 1, 2 if told else own]


def test_user_agents_are_of_any_number(monkeypatch):
    """What the gate remembers of them is not; a forgotten one is judged anew."""
    monkeypatch.setattr(user_agents, "_REMEMBERED", 5)
    gate = make_gate(EngagementGate)
    for first in range(0, 40, 4):
        agents = [f"curl/{n}" for n in range(first, first + 4)] + ["Airmail 5", "curl/0"]
        batch, _ = read(gate, [encoded(ENGAGEMENT, user_agent=agent) for agent in agents])
        assert batch.machine.tolist() == [2, 2, 2, 2, 1, 2]


@BOTH
def test_an_escape_makes_another_identifier_unless_it_is_read(compiled):
    """`a\\/b` is `a/b`, for messages, ids and subjects."""
    record = ENGAGEMENT | {"id": "a/b", "message_id": "c/d"}
    values = [encoded(record), encoded(record).replace(b"/", rb"\/")]
    batch, _ = read(make_gate(EngagementGate, compiled=compiled), values)
    assert batch.identity.tolist() == [hash_identity("esp-main", "a/b")] * 2
    assert batch.message.tolist() == [hash_identity("esp-main", "c/d")] * 2
    sends = [
        encoded(SEND, subject="1/2 off"),
        encoded(SEND, subject="1/2 off").replace(b"/", rb"\/"),
    ]
    batch, _ = read(make_gate(SendGate, compiled=compiled), sends)
    assert batch.creative[0] == batch.creative[1]


@BOTH
def test_a_request_keeps_the_text_of_its_id(compiled):
    """The answer must carry it; any text will do, escaped or not."""
    ids = ["r-1", "żółć/☂", 'a"b\\c']
    values = [encoded(REQUEST, id=text) for text in ids]
    values.append(json.dumps(REQUEST | {"id": "日本"}, ensure_ascii=False).encode())
    batch, refused = read(make_gate(RequestGate, compiled=compiled), values)
    assert not refused
    assert list(batch.ids) == [*ids, "日本"]
    assert batch.window_end_ms.tolist() == [NOW_MS + 3_600_000] * 4


@BOTH
def test_ids_stay_beside_their_rows(compiled):
    """Fast ones, those that the authority reads and refused ones in turn, chunk after chunk."""
    gate = make_gate(RequestGate, compiled=compiled)
    for number in range(3):
        ids = [f"{number}-{n}" + ('"' if n % 4 == 1 else "") for n in range(20)]
        values = [b"{" if n % 5 == 3 else encoded(REQUEST, id=ids[n]) for n in range(20)]
        batch, refused = read(gate, values)
        assert [one.row for one in refused] == [3, 8, 13, 18]
        assert list(batch.ids) == [told for n, told in enumerate(ids) if n % 5 != 3]
        assert batch.identity.tolist() == [hash_identity("esp-main", told) for told in batch.ids]


@BOTH
def test_absent_and_null_optional_fields_are_zero_or_nan(compiled):
    """Both spellings of "not there" give the same row."""
    optional = ("campaign_id", "segment", "timezone", *CONTENT_LIMITS)
    values = [encoded(SEND, **dict.fromkeys(optional, blank)) for blank in (..., None)]
    batch, refused = read(make_gate(SendGate, compiled=compiled), values)
    assert not refused
    assert batch.zone.tolist() == batch.segment.tolist() == [0, 0]
    assert np.isnan(batch.content).all()


@BOTH
@GATES
def test_field_order_space_and_unknown_scalars_do_not_matter(kind, compiled):
    """A newer minor version's fields are ignored; JSON's freedom of form is kept."""
    record = INPUTS[kind]
    plain = encoded(record)
    shuffled = dict(reversed(record.items())) | {"version": "1.7"}
    newer = shuffled | {"novelty": 3.5, "other": "x☂", "flag": True, "none": None}
    spaced = json.dumps(newer, indent=3, ensure_ascii=False).encode() + b" \r\n\t"
    gate = make_gate(kind, compiled=compiled)
    batch, refused = read(gate, [plain, spaced])
    assert not refused
    one, other = (batch.identity[i] for i in range(2))
    assert one == other
    assert batch.event_time_ms[0] == batch.event_time_ms[1]


@GATES
def test_ordinary_records_never_need_the_authority(kind, monkeypatch):
    """The compiled reader takes them all; the slow path is for the odd ones."""

    def forbidden(*_):
        pytest.fail("the authority was asked")

    monkeypatch.setattr("sendtide.gate.gate.judge", forbidden)
    values = [encoded(INPUTS[kind], id=f"id-{i}") for i in range(600)]
    batch, refused = read(make_gate(kind), values)
    assert len(batch) == 600
    assert not refused


@BOTH
def test_of_a_name_that_stands_twice_the_last_value_counts(compiled):
    """The rule of every common JSON parser, held by both readers."""
    value = encoded(ENGAGEMENT)[:-1] + b',"kind":"open","kind":"click"}'
    batch, refused = read(make_gate(EngagementGate, compiled=compiled), [value])
    assert not refused
    assert batch.kind.tolist() == [ENGAGEMENT_KINDS.index("click")]


@BOTH
def test_a_null_value_on_sends_forgets_the_recipient_of_its_key(compiled):
    """A tombstone is a row with `erase`, at the record's own time."""
    values = [encoded(SEND), None]
    keys = [KEY, b"c7:" + b"ff" * 16]
    batch, refused = read(make_gate(SendGate, compiled=compiled), values, keys)
    assert not refused
    assert batch.erase.tolist() == [0, 1]
    assert batch.client.tolist() == [hash_text("c42"), hash_text("c7")]
    assert batch.recipient[1].tolist() == [2**64 - 1] * 2
    assert batch.identity[1] == 0
    assert batch.event_time_ms[1] == NOW_MS


@pytest.mark.parametrize("timestamp_ms", [-1, 0, 2**62])
def test_forgetting_does_not_hang_on_the_records_timestamp(timestamp_ms):
    """A missing or absurd timestamp is brought into range, the row is still made."""
    batch, refused = read(make_gate(SendGate), [None], timestamp_ms=timestamp_ms)
    assert not refused
    assert MIN_TIME_MS <= batch.event_time_ms[0] <= MAX_TIME_MS


@BOTH
@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "wrong_key"),
        (b"", "wrong_key"),
        (b"c42", "wrong_key"),
        (KEY + b"\n", "wrong_key"),
        (KEY.upper(), "wrong_key"),
        (b"\xff" + KEY, "wrong_key"),
        (b"c42:jane@example.org", "raw_address"),
    ],
)
def test_a_null_value_needs_a_whole_key(key, reason, compiled):
    """Nobody is forgotten by half a key, and addresses are not repeated."""
    gate = make_gate(SendGate, compiled=compiled)
    batch, [refused] = read(gate, [None], [key])
    assert len(batch) == 0
    assert refused.reason == reason
    assert "jane" not in refused.detail


@pytest.mark.parametrize("kind", [EngagementGate, RequestGate])
def test_a_null_value_means_nothing_elsewhere(kind):
    """Only sends know tombstones."""
    _, [refused] = read(make_gate(kind), [None])
    assert refused.reason == "wrong_type"


@BOTH
@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (SendGate, {"source": ...}, "missing_field"),
        (SendGate, {"recipient_id": ...}, "missing_field"),
        (EngagementGate, {"message_id": ...}, "missing_field"),
        (RequestGate, {"window_end_ms": ...}, "missing_field"),
        (SendGate, {"event_time_ms": str(NOW_MS)}, "wrong_type"),
        (SendGate, {"event_time_ms": NOW_MS + 0.5}, "wrong_type"),
        (SendGate, {"event_time_ms": None}, "wrong_type"),
        (SendGate, {"client_id": 42}, "wrong_type"),
        (SendGate, {"version": None}, "wrong_type"),
        (SendGate, {"version": 1.0}, "wrong_type"),
        (SendGate, {"words": "300"}, "wrong_type"),
        (SendGate, {"words": True}, "wrong_type"),
        (EngagementGate, {"machine": 1}, "wrong_type"),
        (EngagementGate, {"user_agent": 1}, "wrong_type"),
        (EngagementGate, {"user_agent": "x" * (MAX_USER_AGENT + 1)}, "out_of_range"),
        (EngagementGate, {"kind": None}, "wrong_type"),
        (EngagementGate, {"message_id": ""}, "out_of_range"),
        (EngagementGate, {"message_id": "x" * 129}, "out_of_range"),
        (EngagementGate, {"kind": "opened"}, "out_of_range"),
        (EngagementGate, {"revenue": -0.01}, "out_of_range"),
        (EngagementGate, {"revenue": 10_000_000.5}, "out_of_range"),
        (EngagementGate, {"revenue": 1e308}, "out_of_range"),
        (SendGate, {"words": 65_536}, "out_of_range"),
        (SendGate, {"words": -1}, "out_of_range"),
        (SendGate, {"words": 2**70}, "out_of_range"),
        (SendGate, {"event_time_ms": MIN_TIME_MS - 1}, "out_of_range"),
        (SendGate, {"event_time_ms": MAX_TIME_MS + 1}, "out_of_range"),
        (SendGate, {"event_time_ms": NOW_MS // 1000}, "out_of_range"),
        (SendGate, {"event_time_ms": -NOW_MS}, "out_of_range"),
        (SendGate, {"client_id": "c42\n"}, "out_of_range"),
        (SendGate, {"client_id": "-c42"}, "out_of_range"),
        (SendGate, {"id": "a\x00b"}, "out_of_range"),
        (SendGate, {"id": "a\r\nb"}, "out_of_range"),
        (SendGate, {"id": "a\x7fb"}, "out_of_range"),
        (SendGate, {"segment": "x" * 65}, "out_of_range"),
        (SendGate, {"campaign_id": ""}, "out_of_range"),
        (SendGate, {"version": "1"}, "out_of_range"),
        (SendGate, {"timezone": "Mars/Olympus"}, "out_of_range"),
        (SendGate, {"timezone": "europe/paris"}, "out_of_range"),
        (SendGate, {"recipient_id": RECIPIENT.upper()}, "out_of_range"),
        (SendGate, {"recipient_id": "jane@example.org"}, "raw_address"),
        (EngagementGate, {"recipient_id": "jane@example.org", "kind": "?"}, "raw_address"),
        (RequestGate, {"window_end_ms": NOW_MS}, "out_of_range"),
        (RequestGate, {"window_end_ms": NOW_MS + MAX_WINDOW_MS + 1}, "out_of_range"),
        (SendGate, {"version": "2.0"}, "unknown_version"),
        (SendGate, {"version": "11.3", "recipient_id": ...}, "unknown_version"),
        (SendGate, {"event_time_ms": NOW_MS + MAX_FUTURE_MS + 1}, "future_time"),
        (SendGate, {"client_id": "c43"}, "wrong_key"),
        (SendGate, {"recipient_id": "f" * 32}, "wrong_key"),
        (SendGate, {"segment": "x", "note": "y" * MAX_RECORD_BYTES}, "oversize"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_that_rule(kind, changes, reason, compiled):
    """One record, one reason, a detail of bounded length that repeats no address."""
    good, bad = encoded(INPUTS[kind]), encoded(INPUTS[kind], **changes)
    batch, [refused] = read(make_gate(kind, compiled=compiled), [good, bad, good])
    assert (refused.row, refused.offset, refused.reason) == (1, 101, reason)
    assert 0 < len(refused.detail) <= 200
    assert "@" not in refused.detail
    assert batch.offset.tolist() == [100, 102]


@BOTH
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (SendGate, {"event_time_ms": MIN_TIME_MS}),
        (SendGate, {"event_time_ms": NOW_MS + MAX_FUTURE_MS}),
        (SendGate, dict(CONTENT_LIMITS)),
        (SendGate, {"id": "x" * 128}),
        (SendGate, {"id": "☂" * 128}),
        (SendGate, {"id": "<m.1@mta.example.org>"}),
        (SendGate, {"version": ...}),
        (SendGate, {"version": "1.9999"}),
        (EngagementGate, {"revenue": 10_000_000}),
        (EngagementGate, {"revenue": 0}),
        (RequestGate, {"window_end_ms": NOW_MS + MAX_WINDOW_MS}),
        (SendGate, {"extra": {"nested": [1, {"a": "]}"}]}}),
    ],
)
def test_the_ends_of_every_range_are_inside(kind, changes, compiled):
    """What is allowed is taken, to the last value."""
    gate = make_gate(kind, compiled=compiled)
    batch, refused = read(gate, [encoded(INPUTS[kind], **changes)])
    assert not refused
    assert len(batch) == 1


@BOTH
def test_a_key_must_be_the_bodys_client_and_recipient(compiled):
    """Otherwise a recipient's events would meet in two partitions."""
    keys = [None, b"", b"c42", KEY[:-1], KEY + b"0", KEY.replace(b":", b";"), b"\xff" * len(KEY)]
    gate = make_gate(SendGate, compiled=compiled)
    batch, refused = read(gate, [encoded(SEND)] * len(keys), keys)
    assert len(batch) == 0
    assert {r.reason for r in refused} == {"wrong_key"}


def test_future_is_judged_against_the_records_own_timestamp():
    """A replay years later judges alike: no clock is read."""
    value = encoded(SEND)
    for timestamp_ms, taken in [(NOW_MS - MAX_FUTURE_MS, 1), (NOW_MS - MAX_FUTURE_MS - 1, 0)]:
        batch, refused = read(make_gate(SendGate), [value], timestamp_ms=timestamp_ms)
        assert (len(batch), len(refused)) == (taken, 1 - taken)


@BOTH
@GATES
def test_spellings_are_learned_from_rows_that_were_taken_only(kind, compiled):
    """Refused records cannot fill the memory with names; tables grow with distinct names."""
    names = {name: Names() for name in ("clients", "sources", "segments", "zones")}
    gate = kind(max_future_ms=MAX_FUTURE_MS, compiled=compiled, **names)
    taken = [encoded(INPUTS[kind], client_id=f"c{i}", source=f"s{i % 7}") for i in range(3_000)]
    keys = [f"c{i}:{RECIPIENT}".encode() for i in range(3_000)]
    refused = [encoded(INPUTS[kind], client_id="never")]
    for _ in range(2):
        batch, _ = read(gate, taken + refused, [*keys, KEY])
        assert len(batch) == 3_000
    assert sorted(name for _, name in names["clients"].items()) == sorted(
        f"c{i}" for i in range(3_000)
    )
    assert len(names["sources"]) == 7
    assert all(hash_text(name) == code for code, name in names["clients"].items())
    if kind is not EngagementGate:
        assert [name for _, name in names["segments"].items()] == ["new"]
        assert [name for _, name in names["zones"].items()] == [INPUTS[kind]["timezone"]]


@GATES
def test_chunk_borders_do_not_matter(kind):
    """One chunk of 700 and 700 chunks of one give the same rows and refusals."""
    values = [
        b"{" if i % 50 == 7 else encoded(INPUTS[kind], id=f"id-{i}", extra=i) for i in range(700)
    ]
    whole, refused = read(make_gate(kind), values)
    gate = make_gate(kind)
    single = [read(gate, [value]) for value in values]
    rows = [batch for batch, _ in single if len(batch)]
    assert [r.row for r in refused] == [i for i, (_, r) in enumerate(single) if r]
    np.testing.assert_array_equal(whole.identity, np.concatenate([b.identity for b in rows]))


@GATES
def test_an_empty_chunk_gives_an_empty_batch(kind):
    """No rows, no refusals."""
    batch, refused = read(make_gate(kind), [])
    assert len(batch) == 0
    assert not refused


def test_both_readers_give_the_same_chunk():
    """A chunk of good and bad records, compared whole."""
    values = [encoded(SEND, id=f"m-{i}", words=i * 40) for i in range(2_000)]
    values[5], values[700], values[701] = b"", b"null", None
    fast, fast_refused = read(make_gate(SendGate), values)
    slow, slow_refused = read(make_gate(SendGate, compiled=False), values)
    assert fast_refused == slow_refused
    assert_same_rows(fast, slow)
