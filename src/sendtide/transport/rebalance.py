"""Topics whose equal partition numbers must be in one place, with a cooperative assignor.

librdkafka's cooperative-sticky assignor moves as little as it can and knows no copartitioning:
partition 3 of two topics may go to two workers. So only the first topic of a group, its *leader*,
is subscribed to; whoever gets partition p of the leader also fetches partition p of every
follower. Followers are assigned by the client itself, next to what the group gave; the broker
takes a member's commits for any partition, so their offsets live in the same group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sendtide.transport.errors import ConfigurationError, TopicMismatchError

__all__ = ["CopartitionGroups", "TopicPartition"]

TopicPartition = tuple[str, int]


class CopartitionGroups:
    """Which topics follow which.

    Args:
        groups: topic names, leader first. A topic in no group stands alone.

    Raises:
        ConfigurationError: a topic is in two groups.
    """

    def __init__(self, groups: Sequence[Sequence[str]] = ()) -> None:
        self._groups = [tuple(group) for group in groups if group]
        self._leader_of: dict[str, str] = {}
        self._followers: dict[str, tuple[str, ...]] = {}
        for group in self._groups:
            for topic in group:
                if topic in self._leader_of:
                    msg = f"topic {topic!r} is in two copartition groups; it can follow only one"
                    raise ConfigurationError(msg)
                self._leader_of[topic] = group[0]
            self._followers[group[0]] = group[1:]

    def subscription(self, topics: Iterable[str]) -> list[str]:
        """Topics to subscribe to so that all of `topics` are fetched."""
        return sorted({self._leader_of.get(topic, topic) for topic in topics})

    def members(self, leader: str) -> tuple[str, ...]:
        """Return the leader and its followers."""
        return (leader, *self._followers.get(leader, ()))

    def units(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, frozenset[TopicPartition]]:
        """Partitions that belong together, by the one the group assigned."""
        return {
            (leader, number): frozenset((topic, number) for topic in self.members(leader))
            for leader, number in partitions
        }

    def verify(self, counts: Mapping[str, int]) -> None:
        """Check that the topics of a group have equally many partitions.

        Raises:
            TopicMismatchError: a topic is missing or differs from its leader.
        """
        for group in self._groups:
            found = {topic: counts.get(topic, 0) for topic in group}
            if len(set(found.values())) > 1 or 0 in found.values():
                msg = (
                    f"copartitioned topics have partitions {found} (0: missing); equal keys would "
                    "not meet in one worker. Create them with equal partition counts"
                )
                raise TopicMismatchError(msg)
