"""When a chunk counts as processed."""

from __future__ import annotations

import pytest
from confluent_kafka import Message

from sendtide.transport.chunk import Chunk
from sendtide.transport.record_batch import RecordBatch


def stored(*offsets: int) -> RecordBatch:
    """Records at these offsets."""
    return RecordBatch.of([Message("t", 3, offset, value=b"v") for offset in offsets])


@pytest.fixture
def finished():
    return []


@pytest.fixture
def chunk(finished):
    return Chunk("t", 3, stored(5, 6, 9), 1, lambda chunk: finished.append(chunk.first_offset))


def test_a_chunk_knows_its_range(chunk):
    """The end is one past the last message, whatever gaps lie inside."""
    assert (chunk.first_offset, chunk.next_offset, len(chunk)) == (5, 10, 3)


def test_passing_finishes_a_chunk_that_is_not_held(chunk, finished):
    """Asking for the next chunk is the acknowledgement."""
    chunk.passed()
    assert finished == [5]


@pytest.mark.parametrize("ack_first", [True, False])
def test_a_held_chunk_needs_both_the_pass_and_every_ack(chunk, finished, ack_first):
    """Two holders, two acks, in any order with the pass; finished once."""
    chunk.hold()
    chunk.hold()
    if not ack_first:
        chunk.passed()
    chunk.ack()
    assert finished == []
    chunk.ack()
    if ack_first:
        assert finished == []
        chunk.passed()
    assert finished == [5]


def test_an_ack_without_a_hold_is_an_error(chunk, finished):
    """A double acknowledgement is a mistake worth hearing of."""
    with pytest.raises(RuntimeError, match="is not held"):
        chunk.ack()
    chunk.passed()
    with pytest.raises(RuntimeError, match="already acknowledged"):
        chunk.hold()
    assert finished == [5]


def test_a_chunk_grows_until_somebody_looks_into_it(chunk, finished):
    """What is fetched meanwhile joins it; an agent sees one batch that stays as it is."""
    size, more = chunk.size, stored(10, 12)
    assert chunk.grow(more, limit=5)
    assert (len(chunk), chunk.next_offset, chunk.size) == (5, 13, size + more.nbytes)
    assert chunk.records.offsets.tolist() == [5, 6, 9, 10, 12]
    assert not chunk.grow(stored(13), limit=100)
    assert len(chunk) == 5


@pytest.mark.parametrize("look", [len, Chunk.hold, Chunk.passed, lambda c: c.next_offset])
def test_every_way_of_taking_a_chunk_ends_its_growth(chunk, look):
    """An acknowledgement must not cover messages that came after it was given."""
    look(chunk)
    assert not chunk.grow(stored(10), limit=100)


def test_a_chunk_stays_within_its_limit(chunk):
    """An agent far behind gets several chunks, none larger than the limit."""
    assert not chunk.grow(stored(10), limit=3)
    assert chunk.next_offset == 10
