"""Whether a store still holds what was written into it: it may have been emptied or rolled back.

Every write of a partition carries a number above all before it and leaves it beside the fence, as
the partition's *seal*, in the same atomic step; it is the time of the write where the clock lets
it, so that whoever takes the partition over sees how long nobody had it. A write returns the seal
it found: one below the number of a write that had arrived is a store that has forgotten, and such a
write seals nothing. Then everything is written anew, with number 0, which keeps the partition
unsealed: whoever takes it over halfway finds less than its snapshot remembers and writes everything
again itself. Only a whole repair seals it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sendtide.events.errors import Fenced
from sendtide.sinks.layout import Owner

__all__ = ["Seals"]

_UNSEALED: Final = 0
_ABSENT: Final = -1
"""Found by a write whose owner's fence is not there."""
_NEVER: Final = 1 << 53


@dataclass(slots=True)
class _Standing:
    """confirmed: number of the last write known to have arrived. lost: found since last asked.

    before: the seal of whoever had the partition before.
    """

    epoch: int
    confirmed: int
    whole: bool = True
    lost: bool = False
    before: int = _UNSEALED


class Seals:
    """Where the partitions of one writer stand."""

    def __init__(self) -> None:
        self._number = 0
        self._standings: dict[tuple[str, int], _Standing] = {}

    def begin(self, owner: Owner, found: int, since: int) -> None:
        """A claimed partition: `found` is its seal, `since` the one that its state knows of."""
        self._number = max(self._number, found)
        whole = found >= since
        standing = _Standing(owner.epoch, found if whole else _UNSEALED, whole, not whole, found)
        self._standings[owner.group, owner.partition] = standing

    def expected(self, owner: Owner) -> int:
        """The seal that the next write must find at least."""
        return self._of(owner).confirmed

    def next_number(self, owner: Owner) -> int:
        """Number of the next write."""
        if not self._of(owner).whole:
            return _UNSEALED
        self._number = max(self._number + 1, _now_us())
        return self._number

    def left_ms(self, owner: Owner) -> int | None:
        """When the one before `owner` wrote last, by its clock; None if nothing tells."""
        return self._of(owner).before // 1_000 or None

    def note(self, owner: Owner, found: int, number: int) -> None:
        """A write numbered `number` has arrived and found this seal."""
        standing = self._of(owner)
        known = standing.confirmed
        self._compare(owner, found)
        if not standing.lost:
            standing.confirmed = max(known, number)

    def look(self, owner: Owner, held: int, number: int) -> None:
        """Fence and seal that stand there, between two writes.

        Raises:
            Fenced: a newer owner has written.
        """
        if held > owner.epoch:
            msg = (
                f"FENCED epoch {owner.epoch} of {owner.group}/{owner.partition} is over: epoch "
                f"{held} has taken over; this worker must stop writing"
            )
            raise Fenced(msg)
        self._compare(owner, number if held == owner.epoch else _ABSENT)

    def _compare(self, owner: Owner, found: int) -> None:
        standing = self._of(owner)
        if found < standing.confirmed:
            standing.lost, standing.whole, standing.confirmed = True, False, min(found, _UNSEALED)

    def take_lost(self, owners: Sequence[Owner]) -> list[Owner]:
        """Those of which something is missing; each is told once."""
        lost = [owner for owner in owners if self._of(owner).lost]
        for owner in lost:
            self._of(owner).lost = False
        return lost

    def mended(self, owner: Owner) -> bool:
        """All is written anew; True if it may be sealed."""
        standing = self._of(owner)
        if not standing.lost:
            standing.whole = True
        return standing.whole

    def mark(self, owner: Owner) -> int:
        """Number of the last write that has arrived; above any while something is missing."""
        standing = self._of(owner)
        return standing.confirmed if standing.whole else _NEVER

    def _of(self, owner: Owner) -> _Standing:
        """A partition that was not claimed is believed from its first write on."""
        place = owner.group, owner.partition
        standing = self._standings.get(place)
        if standing is None or standing.epoch != owner.epoch:
            standing = self._standings[place] = _Standing(owner.epoch, _ABSENT)
        return standing


def _now_us() -> int:
    return time.time_ns() // 1_000
