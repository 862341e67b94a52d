"""Topics whose equal partition numbers must be in one place, with a cooperative assignor.

librdkafka's cooperative-sticky assignor moves as little as it can and knows no copartitioning:
partition 3 of two topics may go to two workers. So only the first topic of a group, its *leader*,
is subscribed to; whoever gets partition p of the leader also fetches partition p of every
follower. Followers are assigned by the client itself, next to what the group gave; the broker
takes a member's commits for any partition, so their offsets live in the same group.

Nor does it know kinds of work: with two topics subscribed to, one worker may get all partitions of
the one, another all of the other. A *companion* is a topic that need not be copartitioned and may
have fewer partitions; its partition p goes where partition p of its leader goes, so that whoever
gets a share of the leader's work gets as much of the companion's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sendtide.transport.admin import compare_partitions
from sendtide.transport.errors import ConfigurationError, TopicMismatchError

__all__ = ["Companions", "CopartitionGroups", "TopicPartition"]

TopicPartition = tuple[str, int]
Companions = Mapping[str, tuple[str, int]]
"""By topic: its leader, and how many partitions it has itself, at most as many as the leader."""


class CopartitionGroups:
    """Which topics follow which.

    Args:
        groups: topic names, leader first. A topic in no group stands alone.
        companions: topics that go with a leader without being copartitioned.

    Raises:
        ConfigurationError: a topic is in two groups, or follows one that is itself a follower.
    """

    def __init__(
        self, groups: Sequence[Sequence[str]] = (), companions: Companions | None = None
    ) -> None:
        self._groups = [tuple(group) for group in groups if group]
        self._companions = dict(companions or {})
        self._leader_of: dict[str, str] = {}
        self._followers: dict[str, tuple[str, ...]] = {}
        for group in self._groups:
            for topic in group:
                if topic in self._leader_of:
                    msg = f"topic {topic!r} is in two copartition groups; it can follow only one"
                    raise ConfigurationError(msg)
                self._leader_of[topic] = group[0]
            self._followers[group[0]] = group[1:]
        for topic, (leader, _) in self._companions.items():
            if topic in self._leader_of or self._leader_of.get(leader, leader) != leader:
                msg = f"topic {topic!r} cannot be a companion of {leader!r}: one of them follows"
                raise ConfigurationError(msg)
            self._leader_of[topic] = leader

    def subscription(self, topics: Iterable[str]) -> list[str]:
        """Topics to subscribe to so that all of `topics` are fetched."""
        return sorted({self._leader_of.get(topic, topic) for topic in topics})

    def members(self, leader: str, number: int) -> tuple[str, ...]:
        """Return the leader and all that have this partition and go with it."""
        beside = (
            topic
            for topic, (of, partitions) in self._companions.items()
            if of == leader and number < partitions
        )
        return (leader, *self._followers.get(leader, ()), *beside)

    def topics(self) -> set[str]:
        """Topics whose partitions `verify` looks at."""
        return {topic for group in self._groups for topic in group} | self._companions.keys()

    def units(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, frozenset[TopicPartition]]:
        """Partitions that belong together, by the one the group assigned."""
        return {
            (leader, number): frozenset((topic, number) for topic in self.members(leader, number))
            for leader, number in partitions
        }

    def verify(self, counts: Mapping[str, int]) -> None:
        """Check that groups have equally many partitions, and companions as many as was said.

        Raises:
            TopicMismatchError: a topic is missing, differs from its leader or has grown.
        """
        compare_partitions({topic: n for topic, (_, n) in self._companions.items()}, counts)
        for group in self._groups:
            found = {topic: counts.get(topic, 0) for topic in group}
            if len(set(found.values())) > 1 or 0 in found.values():
                msg = (
                    f"copartitioned topics have partitions {found} (0: missing); equal keys would "
                    "not meet in one worker. Create them with equal partition counts"
                )
                raise TopicMismatchError(msg)
