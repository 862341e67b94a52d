"""Rows by key are those of a dict; different rows are those of a set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sendtide.models.row_index import RowIndex, distinct

WORDS = st.integers(0, 12) | st.integers(2**63, 2**64 - 1)
KEYS = st.tuples(WORDS, WORDS)


@given(st.lists(KEYS, max_size=300), st.lists(KEYS, max_size=20))
def test_rows_count_from_one_in_the_order_of_the_keys(keys, others):
    """A key keeps its row through all growth, zeros too; one that is not known has row 0."""
    index, expected = RowIndex(), {}
    for key in keys:
        assert index.add(*key) == expected.setdefault(key, len(expected) + 1)
    asked = np.array([*keys, *others], np.uint64).reshape(-1, 2)
    found = index.find(asked[:, 0], asked[:, 1]).tolist()
    assert found == [expected.get(tuple(key), 0) for key in asked.tolist()]
    assert len(index) == len(expected)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_each_row_is_found_among_the_different_ones(rows):
    """Every one once, and each of the n points to its own."""
    used, which = distinct(np.array(rows, np.int64), 10)
    assert sorted(used.tolist()) == sorted(set(rows))
    assert used[which].tolist() == rows
