"""Rows of clients and segments: by first appearance, bounded, the same after a restore."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.clients.roster import SEGMENTS_PER_CLIENT, Roster, by_first_appearance
from sendtide.events.hashing import hash_text


@settings(max_examples=60, deadline=None)
@given(codes=st.lists(st.integers(0, 9), max_size=40), size=st.sampled_from([10, 100_000]))
def test_first_appearance_numbers_as_a_dictionary_does(codes, size) -> None:
    """Distinct codes come in order of appearance, whether there are few or many possible ones."""
    expected = list(dict.fromkeys(codes))
    distinct, which = by_first_appearance(np.array(codes, np.int64), size)
    assert distinct.tolist() == expected
    assert [expected[w] for w in which.tolist()] == codes


def test_rows_follow_the_rows_not_the_tables() -> None:
    """A client's row is its place among the rows seen, whatever its place in a block's table."""
    roster = Roster()
    assert roster.client_rows(["a", "b", "c"], np.array([2, 0, 2], np.uint32)).tolist() == [0, 1, 0]
    assert roster.client_rows(["b", "a"], np.array([1, 0], np.uint32)).tolist() == [1, 2]
    assert roster.names == ["c", "a", "b"]


def test_segments_belong_to_clients_and_are_bounded() -> None:
    """The same name is two segments in two clients; none and those beyond the limit have no row."""
    roster = Roster()
    names = ["", "vip", *(f"s{i}" for i in range(2 * SEGMENTS_PER_CLIENT))]
    clients = roster.client_rows(["a", "b"], np.array([0, 1, 0, 0], np.uint32))
    rows = roster.segment_rows(clients, names, np.array([1, 1, 0, 1], np.uint32))
    assert rows.tolist() == [0, 1, -1, 0]
    many = np.arange(2, len(names), dtype=np.uint32)
    rows = roster.segment_rows(np.zeros(len(many), np.int32), names, many)
    assert (rows >= 0).sum() == SEGMENTS_PER_CLIENT - 1
    again = Roster()
    meta, columns = roster.snapshot()
    again.restore(meta["clients"], columns)
    assert again.segment_hash[1] == hash_text("vip")
    assert again.segment_rows(np.zeros(len(many), np.int32), names, many).tolist() == rows.tolist()
