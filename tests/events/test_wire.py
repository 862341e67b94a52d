"""Columns are written as the bytes a JSON library would read back, and records stay in order."""

import json

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


@given(st.lists(st.floats(0, 1, width=32), min_size=1))
def test_single_precision_survives_as_the_double_it_is(values):
    """Scores are float32; a reader finds what a JSON library would have written of them."""
    column = np.array([v if v == 0 or v > 1e-38 else 0.0 for v in values], np.float32)
    lines = RowWriter([decimal("")]).rows(column)
    assert [json.loads(line) for line in lines] == column.astype(float).tolist()
