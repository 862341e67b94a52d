"""A partition replays silently, then works, and never applies an offset twice or out of order."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from sendtide.stages.positions import Positions
from sendtide.stages.runtime import PartitionRuntime


@dataclass(frozen=True)
class Piece:
    topic: str
    first_offset: int
    next_offset: int
    partition: int = 0

    def finish(self) -> None:
        """Nothing is acknowledged here."""

    def split(self, offset: int) -> tuple[Piece, Piece]:
        return (
            Piece(self.topic, self.first_offset, offset),
            Piece(self.topic, offset, self.next_offset),
        )


def deliver(runtime, interleaving, starts, ends, size):
    """Deliver every topic from its start to its end in pieces of `size`, in the given order."""
    position = dict(starts)
    emitted = []
    for topic in [*interleaving, *(t for t in ends for _ in range(ends[t] + 1))]:
        if position[topic] < ends[topic]:
            end = min(position[topic] + size, ends[topic])
            for applied in runtime.feed(Piece(topic, position[topic], end)):
                if applied.output is not None:
                    emitted.append(applied.chunk)
            position[topic] = end
    return emitted


offsets = st.integers(0, 30)


@given(
    snapshot=st.fixed_dictionaries({"a": offsets, "b": offsets}),
    committed=st.fixed_dictionaries({}, optional={"a": offsets, "b": offsets}),
    log=st.fixed_dictionaries({"a": st.tuples(offsets, offsets), "b": st.tuples(offsets, offsets)}),
    interleaving=st.lists(st.sampled_from("ab"), max_size=60),
    size=st.integers(1, 7),
)
def test_every_offset_is_applied_once_in_order_and_emitted_only_when_live(
    snapshot, committed, log, interleaving, size
):
    """State covers start..end of each topic once; output covers committed..end, after replay."""
    log = {topic: (min(pair), max(pair)) for topic, pair in log.items()}
    positions = Positions.recovered(snapshot, committed, log)
    starts, emit_from = dict(positions.applied), dict(positions.emitted)
    seen = {"a": [], "b": []}
    order = []

    def apply(piece, emit):
        seen[piece.topic].extend(range(piece.first_offset, piece.next_offset))
        order.append((piece, emit))
        return "output"

    runtime = PartitionRuntime(positions, apply)
    ends = {topic: max(end, starts[topic]) for topic, (_, end) in log.items()}
    emitted = deliver(runtime, interleaving, starts, ends, size)

    for topic, end in ends.items():
        assert seen[topic] == list(range(starts[topic], end))
        out = [o for p in emitted if p.topic == topic for o in range(p.first_offset, p.next_offset)]
        assert out == list(range(emit_from[topic], end))
    live = [emit for _, emit in order]
    assert live == sorted(live), "a live chunk was applied before the replay was over"
    assert runtime.waiting == 0


def test_a_redelivered_chunk_changes_nothing():
    """What the broker sends again after a rebalance is dropped, whole or in part."""
    calls = []
    positions = Positions.recovered({}, {}, {"a": (0, 10)})
    runtime = PartitionRuntime(positions, lambda piece, _: calls.append(piece) or "x")

    list(runtime.feed(Piece("a", 0, 6)))
    list(runtime.feed(Piece("a", 0, 6)))
    list(runtime.feed(Piece("a", 3, 8)))

    assert [(p.first_offset, p.next_offset) for p in calls] == [(0, 6), (6, 8)]


def test_a_snapshot_older_than_the_log_starts_at_the_log():
    """Records removed by retention are not waited for, and their number is known."""
    positions = Positions.recovered({"a": 5}, {"a": 7}, {"a": (20, 30)})

    assert positions.missed == {"a": 15}
    assert Positions.recovered({"a": 20}, {}, {"a": (20, 30)}).missed == {}

    assert positions.applied == {"a": 20}
    assert positions.emitted == {"a": 20}
    assert not positions.replaying
