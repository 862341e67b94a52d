"""Byte strings and records in columns."""

from __future__ import annotations

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from sendtide.transport.record_batch import PADDING_BYTES, BinaryColumn, RecordBatch

ROWS = st.lists(st.none() | st.binary(max_size=9), max_size=12)


@given(ROWS, st.data())
def test_a_column_is_the_list_it_was_made_of(rows, data):
    """Whole, row by row, in parts, and joined again; a null is not an empty string."""
    column = BinaryColumn.of(rows)
    assert (list(column), len(column)) == (rows, len(rows))
    cut = data.draw(st.integers(0, len(rows)))
    before, after = column.part(slice(cut)), column.part(slice(cut, None))
    assert (list(before), list(after)) == (rows[:cut], rows[cut:])
    joined = BinaryColumn.joined([before, after])
    assert list(joined) == rows
    assert not joined.data[-PADDING_BYTES:].any()
    assert before.nbytes + after.nbytes >= sum(len(row or b"") for row in rows)


def test_a_row_that_is_not_there_is_an_error():
    """As with a list; the bytes behind the last row are nobody's."""
    column = BinaryColumn.of([b"one", b"two"])
    assert column[-1] == b"two"
    with pytest.raises(IndexError):
        column[2]


def test_a_batch_is_cut_and_joined_by_records():
    """Offsets, times, keys and values stay beside each other."""
    stamps = [(1, 50), (1, 40), (2, 60)]
    messages = [
        Message("t", 3, offset, key=key, value=b"v%d" % offset, timestamp=stamp)
        for offset, key, stamp in zip([5, 6, 9], [b"a", None, b""], stamps, strict=True)
    ]
    batch = RecordBatch.of(messages)
    joined = RecordBatch.joined([batch[:1], batch[1:]])
    assert (batch.first_offset, batch.next_offset, len(batch)) == (5, 10, 3)
    assert joined.offsets.tolist() == [5, 6, 9]
    assert joined.timestamps_ms.tolist() == [50, 40, 60]
    assert list(joined.keys) == [b"a", None, b""]
    assert list(joined.values) == [b"v5", b"v6", b"v9"]
    assert list(batch[1:2].values) == [b"v6"]
