"""The application's say in where a partition starts and what happens when it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Protocol

from sendtide.transport.rebalance import TopicPartition

__all__ = ["PartitionOwner"]


class PartitionOwner(Protocol):
    """Called in the event loop; partitions that stay are never mentioned and go on meanwhile.

    Each call is about one unit: a partition number of a copartition group and its companions, or
    one partition of a topic that stands alone. Units are recovered side by side.
    """

    async def assigned(
        self, partitions: Set[TopicPartition]
    ) -> Mapping[TopicPartition, int | None]:
        """Recover, then return the offset to fetch from; fetching starts after that.

        What lies before it is done: a group whose offset stands behind is moved up to it.
        A partition left out, or None, starts at the group's committed offset, or where
        `auto.offset.reset` says if there is none (the earliest record unless set otherwise).
        Cancelled if the unit is taken away meanwhile: then clean up, `revoked` is not called.
        """
        ...

    async def revoked(self, partitions: Set[TopicPartition]) -> None:
        """Finish or abandon the work; what is acknowledged on return is committed.

        Called on rebalances and on stop, within `Settings.revoke_timeout_s`; past that the unit
        goes without a commit and its next owner repeats the work.
        """
        ...

    async def lost(self, partitions: Set[TopicPartition]) -> None:
        """Drop the unit at once: another worker may already hold it; nothing is committed."""
        ...
