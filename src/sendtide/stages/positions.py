"""Where a partition stands in each of its topics, and where replay ends and live work begins.

Three offsets per topic decide everything after an assignment::

    snapshot ........ applied .......... emitted ............ end of the log
       |  state holds    |  replayed: state   |  live: state changes
       |  all before     |  changes, nothing  |  and outputs are
       |  this           |  is emitted        |  emitted
       `- `applied` starts here               `- `emitted`: the group's committed offset

The manifest of the snapshot is the truth; the group's committed offset only says up to where
outputs are known to be delivered. A label may be caused by either of two topics, so the partition
goes live only when *every* topic has been replayed to its `emitted` offset: before that, whatever
is due was already delivered; after that, whatever becomes due was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Positions"]


@dataclass(slots=True)
class Positions:
    """Next offset to apply and first offset to emit for, by topic."""

    applied: dict[str, int] = field(default_factory=dict)
    emitted: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    """Offsets by topic that the broker deleted before they were applied; empty if none."""

    @classmethod
    def recovered(
        cls,
        snapshot: Mapping[str, int],
        committed: Mapping[str, int],
        log: Mapping[str, tuple[int, int]],
    ) -> Positions:
        """Positions after an assignment.

        Args:
            snapshot: next offsets of the restored state by topic; empty for an empty state.
            committed: the group's committed offsets; a topic is missing if it has none.
            log: first and end offset of every topic of the partition, as the broker has them.
        """
        positions = cls()
        for topic, (first, end) in log.items():
            known = snapshot.get(topic, committed.get(topic, first))
            start = max(snapshot.get(topic, first), first)
            if first > known:
                positions.missed[topic] = first - known
            positions.applied[topic] = start
            positions.emitted[topic] = max(start, min(committed.get(topic, start), end))
        return positions

    @property
    def replaying(self) -> bool:
        """True while some topic has not been replayed to where its outputs were delivered."""
        return any(self.applied[topic] < end for topic, end in self.emitted.items())

    def remaining(self) -> int:
        """Offsets still to be replayed, over all topics."""
        return sum(max(0, end - self.applied[topic]) for topic, end in self.emitted.items())

    def advance(self, topic: str, next_offset: int) -> None:
        """Record that all offsets of `topic` before `next_offset` are applied."""
        if next_offset < self.applied[topic]:
            msg = f"{topic}: applied offset would fall from {self.applied[topic]} to {next_offset}"
            raise ValueError(msg)
        self.applied[topic] = next_offset
