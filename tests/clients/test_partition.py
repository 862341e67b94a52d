"""A partition of clients: the same whatever the blocks, and what River would have learned."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.blocks import block, cut, example_rows
from sendtide.clients import ChallengerSettings, ClientPartition, ClientSettings
from sendtide.events.columns import pack, unpack
from sendtide.events.errors import CorruptData
from sendtide.events.examples import ExampleBlock

SETTINGS = ClientSettings(
    reference_rows=150,
    minimum_count=30,
    window_ms=10_000,
    window_lateness_ms=4_000,
    challengers=(
        ChallengerSettings(
            name="tree",
            classes="tree.HoeffdingTreeClassifier",
            # Without a depth River takes Python's recursion limit, which Hypothesis changes.
            params=(("grace_period", 20), ("max_depth", 50)),
            clients=frozenset({"client-1"}),
        ),
        ChallengerSettings(
            name="scaled",
            classes="preprocessing.StandardScaler | linear_model.LogisticRegression",
        ),
    ),
)
EXPOSURES, LABELS = example_rows(1200), example_rows(700, seed=2)
LATER, MORE = example_rows(1500, seed=3, first=1200), example_rows(900, seed=4, first=700)
LAST = example_rows(1500, seed=5, first=1500)
TOPIC = [
    (EXPOSURES, "exposure", 0),
    (LABELS, "label", 0),
    (LATER, "exposure", 1),
    (MORE, "label", 1),
    (LAST, "exposure", 0),
]


def _partition() -> ClientPartition:
    return ClientPartition(3, SETTINGS)


def _messages(outcomes) -> list:
    """Metrics in order, then alerts in order: they go to two topics."""
    return [m for o in outcomes for m in o.metrics] + [a for o in outcomes for a in o.alerts]


def _whole() -> tuple[str, list]:
    partition = _partition()
    outcomes = [partition.apply(block(rows, kind, origin)) for rows, kind, origin in TOPIC]
    return partition.digest(), _messages(outcomes), partition.lifts()


WHOLE = _whole()


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=3, max_size=5),
    repeat_every=st.integers(1, 6),
    restart_every=st.integers(2, 9),
)
def test_blocks_repeats_and_restarts_make_no_difference(sizes, repeat_every, restart_every):
    """Rows cut otherwise, repeated and restored midway give the same state, messages and lifts."""
    partition, outcomes, number = _partition(), [], 0
    for rows, kind, origin in TOPIC:
        for piece in cut(rows, kind, sizes, origin):
            outcomes.append(partition.apply(piece))
            number += 1
            if number % restart_every == 0:
                meta, columns = unpack(pack(*partition.snapshot()))
                partition = ClientPartition.restore(3, SETTINGS, meta, columns)
            if number % repeat_every == 0:
                again = partition.apply(piece)
                assert again.accepted == 0
                assert not _messages([again])
    assert partition.counts()["exposures"] == 4200
    assert partition.counts()["labels"] == 1600
    assert partition.digest() == WHOLE[0]
    assert _messages(outcomes) == WHOLE[1]
    assert len(WHOLE[1]) > 20
    partition.mark_lifts_changed()
    assert partition.lifts() == WHOLE[2]
    assert [lift.control_sends > 20 for lift in WHOLE[2]] == [True] * 6


def test_lifts_are_of_clients_that_had_labels_since_they_were_asked_for() -> None:
    """Exposures change none; after a restore all are told again."""
    partition = _partition()
    partition.apply(block(LABELS, "label"))
    told = partition.lifts()
    assert {lift.client_id for lift in told} == {"client-0", "client-1", "client-2"}
    partition.apply(block(EXPOSURES, "exposure"))
    assert partition.lifts() == []
    again = ClientPartition.restore(3, SETTINGS, *partition.snapshot())
    assert again.lifts() == told


def test_different_rows_give_a_different_digest() -> None:
    """One label turned round, or one row more, is another state."""
    rows = example_rows(200)
    digests = set()
    for change in ("none", "label", "row"):
        rows["opened"][50] ^= change == "label"
        partition = _partition()
        partition.apply(block(rows, "label", 0, slice(0, 199 + (change == "row"))))
        digests.add(partition.digest())
    assert len(digests) == 3


def test_blocks_off_the_wire_are_taken() -> None:
    """Read-only columns out of a record's bytes give the same state as those in memory."""
    rows = example_rows(300)
    memory, wire = _partition(), _partition()
    for kind in ("label", "exposure"):
        memory.apply(block(rows, kind))
        wire.apply(ExampleBlock.from_bytes(block(rows, kind).to_bytes()))
    assert memory.digest() == wire.digest()
    assert memory.apply(block(rows, "label", 0, slice(0, 0))).accepted == 0


def test_a_snapshot_of_something_else_is_refused() -> None:
    """Another partition's, an unknown version, or one with a part missing are not used."""
    partition = _partition()
    partition.apply(block(example_rows(50), "label"))
    meta, columns = partition.snapshot()
    fewer = {n: c for n, c in columns.items() if n != "learning.quality.scores"}
    with pytest.raises(CorruptData, match="of partition 3"):
        ClientPartition.restore(4, SETTINGS, meta, columns)
    with pytest.raises(CorruptData, match=r"version 9\.0"):
        ClientPartition.restore(3, SETTINGS, meta | {"version": "9.0"}, columns)
    with pytest.raises(CorruptData, match="does not fit"):
        ClientPartition.restore(3, SETTINGS, meta, fewer)


@pytest.mark.parametrize(
    ("column", "value"), [("send_offset", -1), ("hour_of_week", 168), ("group", 64)]
)
def test_impossible_values_are_refused_whole(column, value) -> None:
    """A block with an offset, hour or group no row can have is refused; the state is as before."""
    partition = _partition()
    before = partition.digest()
    rows = example_rows(20)
    rows[column][13] = value
    for kind in ("label", "exposure"):
        with pytest.raises(CorruptData, match="hour of week"):
            partition.apply(block(rows, kind))
    assert partition.digest() == before
