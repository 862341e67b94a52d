"""The compiled reader never disagrees with the authority, on any bytes there can be."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sendtide.gate import EngagementGate
from sendtide.transport import BinaryColumn

from .records import ENGAGEMENT, INPUTS, KEY, assert_same_rows, make_gate, read

NAMES = sorted({name for record in INPUTS.values() for name in record} | {"x", "new_field", ""})
ODD_TEXT = st.sampled_from(
    [
        *("", "c42", "1.0", "1.12", "2.0", "open", "click", "Europe/Paris", "UTC", "Mars/X"),
        *("a@b.c", "0123456789abcdef" * 2, "f" * 32, "x" * 64, "x" * 65, "é" * 64, "é" * 65),
        *("a\x7f", "a\n", "hotmail.fr", "Gmail.com", "jones-family.example", "gmail.com\n", ".com"),
        *("outlook", "other", "gmail_com", "9" * 65),
        *("Mozilla/5.0", "curl/8.5.0", "x" * 2_048, "x" * 2_049, "é" * 2_048),
    ]
)
NUMBERS = st.one_of(
    st.sampled_from([0, -0.0, 1_700_000_000_000, 1_700_000_060_000, 2**53, 2**63, 2**70, 1e308]),
    st.integers(-10, 70_000),
    st.integers(),
    st.floats(allow_nan=True),
    st.decimals(0, 10_000_001, places=4).map(float),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, ODD_TEXT, st.text(max_size=20))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
RAW_NUMBERS = st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
SPACE = st.sampled_from(["", " ", "\n\t", "\r", "\x0b", "\xa0"])


@st.composite
def changed_records(draw, record):
    """JSON of a valid record after a few changes of fields, spelling, space and bytes."""
    pairs = [(json.dumps(k), json.dumps(v)) for k, v in record.items()]
    for _ in range(draw(st.integers(0, 2))):
        name = json.dumps(draw(st.sampled_from(NAMES)), ensure_ascii=draw(st.booleans()))
        if draw(st.booleans()):
            value = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()))
        else:
            value = draw(RAW_NUMBERS)
        if draw(st.integers(0, 3)) == 0:
            value = value.replace("/", r"\/")
        pairs = [pair for pair in pairs if draw(st.integers(0, 9)) == 0 or pair[0] != name]
        pairs.insert(draw(st.integers(0, len(pairs))), (name, value))
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    space = draw(SPACE)
    body = ",".join(f"{space}{name}{space}:{value}{space}" for name, value in pairs)
    data = bytearray(f"{space}{{{body}}}{space}".encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(data) - 1))
        data[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


KEYS = st.sampled_from([KEY, KEY, KEY, KEY, None, b"", KEY[:-1], b"c42:" + b"f" * 32])


def assert_readers_agree(kind, values, keys, timestamps_ms=1_700_000_000_000):
    fast = read(make_gate(kind), values, keys, timestamp_ms=timestamps_ms)
    slow = read(make_gate(kind, compiled=False), values, keys, timestamp_ms=timestamps_ms)
    assert fast[1] == slow[1]
    assert_same_rows(fast[0], slow[0])
    assert len(fast[0]) + len(fast[1]) == len(values)


@pytest.mark.parametrize("kind", list(INPUTS), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_readers_agree_on_records_changed_at_random(kind, data):
    """Same rows, same refusals, and every record in exactly one bucket."""
    record = INPUTS[kind]
    values = data.draw(st.lists(changed_records(record), min_size=1, max_size=4))
    keys = [data.draw(KEYS) for _ in values]
    assert_readers_agree(kind, values, keys)


@pytest.mark.parametrize("kind", list(INPUTS), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_part_of_a_column_reads_as_the_list_of_its_rows(kind, data):
    """Whatever lies before and after in the same buffer, and where the buffer ends with it."""
    drawn = data.draw(st.lists(changed_records(INPUTS[kind]), min_size=1, max_size=5))
    values, keys = [*drawn, None], [data.draw(KEYS) for _ in range(len(drawn) + 1)]
    first = data.draw(st.integers(0, len(drawn)))
    rows = slice(first, data.draw(st.integers(first + 1, len(values))))
    columns = BinaryColumn.of(values).part(rows), BinaryColumn.of(keys).part(rows)
    taken, refused = read(make_gate(kind), *columns)
    expected, expected_refused = read(make_gate(kind), values[rows], keys[rows])
    assert refused == expected_refused
    assert_same_rows(taken, expected)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=5))
@example([b'{"a":"', b'","b":1}'])
@example([b"{", b'"a":1}', b"}"])
@example([b"", b"{}"])
@example([b'{"a":1', b"}"])
@settings(max_examples=150, deadline=None)
def test_readers_agree_on_any_bytes(values):
    """Also where one record's end and the next one's start would make a whole."""
    for kind in INPUTS:
        assert_readers_agree(kind, values, [KEY] * len(values))


@given(st.floats(0, 10_000_000), st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_revenue_is_rounded_as_python_rounds_it(value, digits):
    """The compiled decimal reader is exact or leaves the number to the authority."""
    text = f"{value:.{digits}f}"
    if float(text) > 10_000_000:
        return
    record = json.dumps({k: v for k, v in ENGAGEMENT.items() if k != "revenue"})
    batch, refused = read(make_gate(EngagementGate), [f'{record[:-1]},"revenue":{text}}}'.encode()])
    assert not refused
    assert batch.revenue.tolist() == [float(text)]


def test_a_record_split_over_two_is_never_read_as_one():
    """Records lie end to end in memory; the border must hold for every way of cutting."""
    whole = json.dumps(ENGAGEMENT).encode()
    for cut in range(len(whole) + 1):
        values = [whole[:cut], whole[cut:]]
        batch, refused = read(make_gate(EngagementGate), values, [KEY, KEY])
        assert (len(batch), len(refused)) == ((1, 1) if cut in (0, len(whole)) else (0, 2))
