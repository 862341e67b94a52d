"""Columns are written as the bytes a JSON library would read back, and records stay in order."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.events.wire import (
    ABSENT,
    Records,
    RowWriter,
    decimal,
    hexadecimal,
    hundredths,
    literal,
    number,
    single,
    text,
)

WRITER = RowWriter(
    [
        literal("{"),
        number('"number":'),
        text(',"text":"', ["a", "bcd", ""]),
        literal('"'),
        hexadecimal(',"hex":"'),
        hundredths('","money":'),
        number(',"maybe":'),
        decimal(',"double":'),
        literal("}"),
    ]
)
DOUBLES = st.floats(-1e16, 1e16, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-290)
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.integers(0, 2),
        st.integers(0, 2**64 - 1),
        st.integers(0, 10**12),
        st.one_of(st.none(), st.integers(0, 10**6)),
        st.one_of(st.none(), DOUBLES),
    ),
    max_size=20,
)


@given(ROWS)
def test_rows_read_back_as_their_values(rows):
    """Numbers of any size and sign, texts, hex words, hundredths, doubles and absences survive."""
    columns = [np.array([row[i] for row in rows], np.int64) for i in (0, 1, 3)]
    words = np.array([row[2] for row in rows], np.uint64)
    maybe = np.array([ABSENT if row[4] is None else row[4] for row in rows], np.int64)
    doubles = np.array([np.nan if row[5] is None else row[5] for row in rows])
    written = WRITER.rows(columns[0], columns[1], words, columns[2], maybe, doubles)

    assert len(written) == len(rows)
    for line, (whole, choice, word, money, perhaps, double) in zip(written, rows, strict=True):
        body = json.loads(line)
        assert body["number"] == whole
        assert body["text"] == ["a", "bcd", ""][choice]
        assert body["hex"] == f"{word:016x}"
        assert body["money"] == pytest.approx(money / 100, abs=1e-9)
        assert body.get("maybe") == perhaps
        assert body.get("double") == double


def test_a_long_text_takes_its_room_once():
    """Room for the longest in every row would be a thousand times what is written."""
    choices = ["", "x" * 1_000_000]
    places = np.zeros(20_000, np.int64)
    places[[0, 7]] = 1, ABSENT
    writer = RowWriter([text("<", choices), literal(">")])
    data, starts = writer.column(places)
    assert data.base is None
    assert writer._room(writer._values([places])) < 1_100_000
    lines = [data[a:b].tobytes() for a, b in pairwise(starts.tolist())]
    assert lines[:2] == [b"<" + b"x" * 1_000_000 + b">", b"<>"]
    assert lines[7] == b">"
    assert set(lines[8:]) == {b"<>"}


def test_columns_that_do_not_fit_are_refused():
    """A missing column or a text index out of range is an error, not garbage in the bytes."""
    one = np.zeros(1, np.int64)
    word = np.zeros(1, np.uint64)
    with pytest.raises(ValueError, match="columns"):
        WRITER.rows(one, one)
    for wrong in (1e17, 1e-300, np.inf):
        with pytest.raises(ValueError, match="cannot be written"):
            WRITER.rows(one, one, word, one, one, np.array([wrong]))
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match="text index"):
            WRITER.rows(one, np.array([wrong]), word, one, one, one)


def test_records_part_by_topic_and_keep_their_order():
    """Per topic, order is kept; iterating gives the produced order; `first` cuts."""
    records = Records(
        topics=("a", "b", "c"),
        topic=np.array([0, 1, 0], np.uint8),
        keys=[b"1", b"2", b"3"],
        values=[b"x", None, b"z"],
        timestamps_ms=np.array([10, 20, 30]),
    )
    parts = records.by_topic()

    assert list(parts) == ["a", "b"]
    assert parts["a"][:2] == ([b"1", b"3"], [b"x", b"z"])
    assert list(records) == [("a", b"1", b"x", 10), ("b", b"2", None, 20), ("a", b"3", b"z", 30)]
    assert list(records.first(1)) == [("a", b"1", b"x", 10)]


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_single_precision_survives_in_the_fewest_digits(values):
    """Scores are float32: a reader finds them again, and no text that says the same is shorter."""
    column = np.array([v if v == 0 or 1e-38 < abs(v) < 1e17 else 0.0 for v in values], np.float32)
    lines = RowWriter([single("")]).rows(column)
    assert np.float32([json.loads(line) for line in lines]).tolist() == column.tolist()
    for line, value in zip(lines, column, strict=True):
        if 1e-4 <= abs(value) < 1e6:
            assert len(line) <= max(len(np.format_float_positional(value, trim="0")), 8)


def test_round_doubles_are_written_as_people_write_them():
    """A share of 0.77 is not 0.77000000000000002."""
    column = np.array([0.77, 1.0, 0.05, 1 / 168, 123456.75, 1e-7, 0.1 + 0.2])
    lines = RowWriter([decimal("")]).rows(column)
    assert lines[:3] == [b"0.77", b"1.0", b"0.05"]
    assert [json.loads(line) for line in lines] == column.tolist()


def test_many_rows_are_written_as_few_are():
    """Rows come out the same whether or not the buffer has room for all of them at once."""
    rng = np.random.default_rng(3)
    n = 20_000
    words = rng.integers(0, 2**64, n, np.uint64)
    columns = [rng.integers(-(10**9), 10**9, n), rng.integers(0, 3, n), words]
    columns += [rng.integers(0, 10**6, n), np.full(n, ABSENT), rng.random(n)]
    together, ends = WRITER.write(*columns)
    apart = [WRITER.rows(*(column[i : i + 1] for column in columns))[0] for i in range(0, n, 97)]
    assert together == b"".join(rows := WRITER.rows(*columns))
    assert np.diff(ends, prepend=0).tolist() == list(map(len, rows))
    assert rows[::97] == apart
