"""The poison list: whatever the bytes are, nothing raises and each lands where it should."""

import json
import sys

import pytest

from sendtide.events.hashing import hash_text
from sendtide.events.mailbox import MAILBOX_PROVIDERS
from sendtide.gate import SendGate

from .records import INPUTS, SEND, encoded, make_gate, read


def with_value(raw):
    """A send whose unknown field `x` holds `raw`."""
    return encoded(SEND)[:-1] + b',"x":' + raw + b"}"


def with_words(raw):
    """A send whose number of words is `raw`."""
    return encoded(SEND, words=...)[:-1] + b',"words":' + raw + b"}"


def with_id(raw):
    """A send whose id is the raw bytes between the quotes."""
    return encoded(SEND, id=...)[:-1] + b',"id":"' + raw + b'"}'


POISON = {
    "empty": (b"", "bad_json"),
    "space": (b"  \n", "bad_json"),
    "null": (b"null", "wrong_type"),
    "true": (b"true", "wrong_type"),
    "number": (b"17", "wrong_type"),
    "string": (b'"{}"', "wrong_type"),
    "array": (b"[" + encoded(SEND) + b"]", "wrong_type"),
    "empty object": (b"{}", "missing_field"),
    "cut off": (encoded(SEND)[:-1], "bad_json"),
    "cut in a string": (encoded(SEND)[:30], "bad_json"),
    "two objects": (encoded(SEND) * 2, "bad_json"),
    "trailing comma": (encoded(SEND)[:-1] + b",}", "bad_json"),
    "NaN": (with_words(b"NaN"), "bad_json"),
    "-Infinity": (with_words(b"-Infinity"), "bad_json"),
    "1e999": (with_words(b"1e999"), "out_of_range"),
    "exponent for an integer": (with_words(b"3e2"), "wrong_type"),
    "2^70": (with_words(str(2**70).encode()), "out_of_range"),
    "5000 digits": (with_words(b"9" * 5000), "out_of_range"),
    "leading zero": (with_words(b"007"), "bad_json"),
    "plus sign": (with_words(b"+7"), "bad_json"),
    "bare point": (with_words(b"7."), "bad_json"),
    "lone high surrogate": (with_id(b"\\ud800"), "bad_json"),
    "lone low surrogate": (with_id(b"\\udc00"), "bad_json"),
    "surrogate as UTF-8": (with_id(b"\xed\xa0\x80"), "bad_encoding"),
    "overlong UTF-8": (with_id(b"\xc0\xaf"), "bad_encoding"),
    "above U+10FFFF": (with_id(b"\xf4\x90\x80\x80"), "bad_encoding"),
    "Latin-1": (with_id("é".encode("latin-1")), "bad_encoding"),
    "bad UTF-8 in an unknown field": (with_value(b'"\xff"'), "bad_encoding"),
    "UTF-16 with mark": (json.dumps(SEND).encode("utf-16"), "bad_encoding"),
    "UTF-16 without mark": (json.dumps(SEND).encode("utf-16-le"), "bad_encoding"),
    "UTF-32": (json.dumps(SEND).encode("utf-32-be"), "bad_encoding"),
    "byte order mark": (b"\xef\xbb\xbf" + encoded(SEND), "bad_encoding"),
    "NUL escaped": (with_id(b"a\\u0000b"), "out_of_range"),
    "NUL as it is": (with_id(b"a\x00b"), "bad_json"),
    "newline as it is": (with_id(b"a\nb"), "bad_json"),
    "deep arrays": (b"[" * 60_000, "bad_json"),
    "deep arrays in a field": (with_value(b"[" * 20_000 + b"]" * 20_000), "bad_json"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "bad_json"),
    "100k-deep arrays": (with_value(b"[" * 100_000 + b"]" * 100_000), "oversize"),
    "2 MB": (with_value(b'"' + b"x" * 2_000_000 + b'"'), "oversize"),
    "gzip": (b"\x1f\x8b\x08\x00" + b"\x00" * 20, "bad_encoding"),
    "unquoted names": (b"{source:1}", "bad_json"),
    "single quotes": (encoded(SEND).replace(b'"', b"'"), "bad_json"),
    "comment": (encoded(SEND) + b"// x", "bad_json"),
}


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "authority"])
@pytest.mark.parametrize(("value", "reason"), POISON.values(), ids=POISON.keys())
def test_poison_is_refused_for_what_it_is(value, reason, compiled):
    """Each of the poison list lands in its bucket, and its neighbours are not harmed."""
    good = encoded(SEND)
    batch, refused = read(make_gate(SendGate, compiled=compiled), [good, value, good])
    assert batch.offset.tolist() == [100, 102]
    assert [r.reason for r in refused] == [reason]


@pytest.mark.parametrize("kind", list(INPUTS), ids=lambda kind: kind.__name__)
def test_poison_of_all_kinds_in_one_chunk_stops_nothing(kind):
    """All of it together, on every input: as many refusals as records."""
    values = [value for value, _ in POISON.values()]
    batch, refused = read(make_gate(kind), values)
    assert len(batch) == 0
    assert [r.row for r in refused] == list(range(len(values)))


def test_an_empty_value_is_not_a_tombstone():
    """Only a null value forgets; an empty one is a producer's mistake."""
    batch, [refused] = read(make_gate(SendGate), [b""])
    assert refused.reason == "bad_json"
    assert len(batch) == 0


def test_nesting_is_judged_alike_however_deep_the_caller_stands():
    """A decoder's recursion limit hangs on the stack; ours is a count, so a replay agrees."""

    def at_depth(depth, value):
        return at_depth(depth - 1, value) if depth else read(make_gate(SendGate), [value])

    nested = with_value(b"[" * 30 + b"]" * 30)
    deep = sys.getrecursionlimit() - 300
    assert len(at_depth(0, nested)[0]) == len(at_depth(min(deep, 600), nested)[0]) == 1
    too_deep = with_value(b"[" * 40 + b"]" * 40)
    assert at_depth(0, too_deep)[1][0].reason == "bad_json"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"timezone": "Mars/Olympus"}, ["Mars/Olympus", "IANA"]),
        ({"recipient_id": "jane@example.org"}, ["keyed hash", "HMAC-SHA-256"]),
        ({"version": "2.0"}, ["2.0", "reads 1.x"]),
        ({"words": 65_536}, ["65535", "$.words"]),
        ({"source": ...}, ["source"]),
        ({"event_time_ms": 1_700_000_060_001}, ["60001", "60000", "clock"]),
    ],
)
def test_a_refusal_says_what_was_seen_and_what_to_do(changes, says):
    """The detail is for the person who has to mend the producer."""
    _, [refused] = read(make_gate(SendGate), [encoded(SEND, **changes)])
    for words in says:
        assert words in refused.detail


def test_an_address_for_a_mailbox_provider_is_refused_as_one():
    """Whatever else is wrong with the record, and without repeating the address."""
    record = encoded(SEND, mailbox_provider="jane@example.org", words="many")
    _, (refused,) = read(make_gate(SendGate), [record])
    assert refused.reason == "raw_address"
    assert "mailbox_provider" in refused.detail
    assert "jane" not in refused.detail


@pytest.mark.parametrize(
    ("told", "name"),
    [
        *(("hotmail.de", "outlook.com"), ("jones.example", "other")),
        *((..., "not told"), (None, "not told")),
    ],
)
@pytest.mark.parametrize("compiled", [True, False])
def test_a_mailbox_provider_is_a_code_of_the_list(told, name, compiled):
    """No other domain's hash or text is in any column or table of names."""
    gate = make_gate(SendGate, compiled=compiled)
    batch, refused = read(gate, [encoded(SEND, mailbox_provider=told)])
    assert not refused
    assert MAILBOX_PROVIDERS[batch.provider[0]] == name
    assert not any(hash_text("jones.example") in names for names in gate._names)
