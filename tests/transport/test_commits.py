"""The commit rule, against a model that looks at every offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendtide.transport.commits import PartitionLedger


@st.composite
def histories(draw):
    """Pieces of work with gaps between them, and an order in which some of them finish."""
    pieces, at = [], draw(st.integers(0, 5))
    for _ in range(draw(st.integers(1, 12))):
        end = at + draw(st.integers(1, 4))
        pieces.append((at, end))
        at = end + draw(st.sampled_from([0, 0, 0, 2]))
    finishing = draw(st.permutations(pieces))
    return pieces, finishing[: draw(st.integers(0, len(pieces)))]


@given(histories(), st.one_of(st.none(), st.integers(0, 30)))
def test_committable_never_passes_unfinished_work_and_wastes_nothing(history, committed):
    """After every step the committable offset is the end of the longest finished prefix."""
    pieces, finishing = history
    ledger = PartitionLedger(committed)
    for first, end in pieces:
        ledger.register(first, end)
    done = set()
    for piece in [None, *finishing]:
        if piece is not None:
            assert ledger.finish(piece[0])
            done.add(piece)
        prefix_end = None
        for first, end in pieces:
            if (first, end) not in done:
                break
            prefix_end = end
        if prefix_end is not None and (committed is None or prefix_end > committed):
            assert ledger.committable == prefix_end
        else:
            assert ledger.committable is None
        assert ledger.unfinished == len(pieces) - len(done)


@given(histories())
def test_bytes_in_flight_are_those_of_unfinished_work(history):
    """Bytes are set free when a piece finishes, wherever it stands in the order."""
    pieces, finishing = history
    ledger = PartitionLedger()
    for first, end in pieces:
        ledger.register(first, end, 10 * (end - first))
    for first, _ in finishing:
        ledger.finish(first)
    left = set(pieces) - set(finishing)
    assert ledger.bytes_in_flight == sum(10 * (end - first) for first, end in left)


def test_a_commit_counts_only_when_confirmed():
    """An offset stays committable until the broker has confirmed it, then never comes back."""
    ledger = PartitionLedger()
    ledger.register(0, 10)
    ledger.finish(0)
    assert ledger.committable == 10
    assert ledger.committable == 10
    ledger.confirm(10)
    assert ledger.committable is None


def test_a_replay_does_not_move_the_group_back():
    """Work below the group's offset is finished without anything to commit."""
    ledger = PartitionLedger(committed=100)
    ledger.register(40, 90)
    ledger.finish(40)
    assert ledger.committable is None
    ledger.register(90, 120)
    ledger.finish(90)
    assert ledger.committable == 120


def test_work_out_of_order_or_empty_is_refused():
    """Overlaps would make one offset belong to two pieces of work."""
    ledger = PartitionLedger()
    ledger.register(0, 10)
    with pytest.raises(ValueError, match="overlaps"):
        ledger.register(9, 12)
    with pytest.raises(ValueError, match="holds no offset"):
        ledger.register(10, 10)


def test_finishing_twice_counts_once():
    """A second acknowledgement of the same work changes nothing."""
    ledger = PartitionLedger()
    ledger.register(0, 5, 7)
    assert ledger.finish(0)
    assert not ledger.finish(0)
    assert ledger.bytes_in_flight == 0


def test_the_newest_work_may_go_on_and_is_committed_as_a_whole():
    """A chunk that grew is one piece of work up to its new end, and its bytes are counted."""
    ledger = PartitionLedger()
    ledger.register(0, 10, 7)
    ledger.extend(0, 15, 3)
    assert (ledger.registered_to, ledger.bytes_in_flight) == (15, 10)
    ledger.register(15, 20)
    ledger.finish(0)
    assert (ledger.committable, ledger.bytes_in_flight) == (15, 0)


def test_only_the_newest_work_goes_on():
    """Older, finished or shrinking work would leave two owners of one offset."""
    ledger = PartitionLedger()
    ledger.register(0, 10)
    ledger.register(10, 20)
    for first, end in ((0, 12), (10, 20), (5, 30)):
        with pytest.raises(ValueError, match="only the newest"):
            ledger.extend(first, end, 0)
    ledger.finish(10)
    with pytest.raises(ValueError, match="only the newest"):
        ledger.extend(10, 25, 0)
