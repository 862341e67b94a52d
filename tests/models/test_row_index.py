"""Rows by key are those of a dict; different rows are those of a set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.models.row_index import RowIndex, distinct

# Few low bits, so that many keys want the same place.
KEYS = st.builds(lambda high, low: (high << 56) | low, st.integers(1, 255), st.integers(0, 3))


@given(st.lists(KEYS, max_size=300), st.lists(KEYS, max_size=20))
def test_rows_count_from_one_in_the_order_of_the_keys(keys, others):
    """A key keeps its row through all growth; one that is not known has row 0."""
    index, expected = RowIndex(), {}
    for key in keys:
        assert index.add(key) == expected.setdefault(key, len(expected) + 1)
    asked = np.array([*keys, *others], np.uint64)
    assert index.find(asked).tolist() == [expected.get(key, 0) for key in asked.tolist()]
    assert len(index) == len(expected)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_each_row_is_found_among_the_different_ones(rows):
    """Every one once, and each of the n points to its own."""
    used, which = distinct(np.array(rows, np.int64), 10)
    assert sorted(used.tolist()) == sorted(set(rows))
    assert used[which].tolist() == rows
