"""Whether topics stay what the state rests on: an equal key meets its state in one partition only.

A topic that is grown while workers run would be silent without this: producers send keys to new
partitions at once, the group notices minutes later, and then there are two states of one key.
"""

from __future__ import annotations

from collections.abc import Mapping

from sendtide.stages.offsets import OffsetLookup
from sendtide.transport import compare_partitions

__all__ = ["TopicWatch"]


class TopicWatch:
    """Compares the broker's partitions with those of the deployment. Blocks.

    wanted: partitions by topic.
    """

    def __init__(self, offsets: OffsetLookup, wanted: Mapping[str, int]) -> None:
        self._offsets = offsets
        self._wanted = dict(wanted)
        self._missing: set[str] = set()

    def look(self) -> None:
        """Ask the broker; a topic counts as missing from the second look in a row on.

        Raises:
            TopicMismatchError: a topic has been deleted, or has other partitions than it must.
            Unavailable: the broker does not answer.
        """
        found = self._offsets.partitions(self._wanted)
        missing = self._wanted.keys() - found.keys()
        passing, self._missing = missing - self._missing, missing
        expected = {topic: n for topic, n in self._wanted.items() if topic not in passing}
        compare_partitions(expected, found)
