"""A partition of clients: the same whatever the blocks, and what River would have learned."""

from hypothesis import given, settings
from hypothesis import strategies as st

from clients.blocks import block, cut, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.events.columns import pack, unpack

SETTINGS = ClientSettings(
    reference_rows=150, minimum_count=30, window_ms=10_000, window_lateness_ms=4_000
)
EXPOSURES, LABELS = example_rows(1200), example_rows(700, seed=2)
LATER, MORE = example_rows(1500, seed=3, first=1200), example_rows(900, seed=4, first=700)
TOPIC = [(EXPOSURES, "exposure"), (LABELS, "label"), (LATER, "exposure"), (MORE, "label")]


def _partition() -> ClientPartition:
    return ClientPartition(3, SETTINGS)


def _messages(outcomes) -> list:
    return [m for o in outcomes for m in (*o.metrics, *o.alerts)]


def _whole() -> tuple[str, list]:
    partition = _partition()
    outcomes = [partition.apply(block(rows, kind)) for rows, kind in TOPIC]
    return partition.digest(), _messages(outcomes)


WHOLE = _whole()


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=4),
    repeat_every=st.integers(1, 6),
    restart_every=st.integers(2, 9),
)
def test_blocks_repeats_and_restarts_make_no_difference(sizes, repeat_every, restart_every):
    """Rows cut otherwise, repeated and restored midway give the same state and messages."""
    partition, outcomes, number = _partition(), [], 0
    for rows, kind in TOPIC:
        for piece in cut(rows, kind, sizes):
            outcomes.append(partition.apply(piece))
            number += 1
            if number % restart_every == 0:
                meta, columns = unpack(pack(*partition.snapshot()))
                partition = ClientPartition.restore(3, SETTINGS, meta, columns)
            if number % repeat_every == 0:
                again = partition.apply(piece)
                assert again.accepted == 0
                assert not _messages([again])
    assert partition.counts()["exposures"] == 2700
    assert partition.counts()["labels"] == 1600
    assert partition.digest() == WHOLE[0]
    assert _messages(outcomes) == WHOLE[1]
    assert len(WHOLE[1]) > 20
