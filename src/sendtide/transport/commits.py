"""What may be committed: one integer per partition, the end of the finished prefix.

Pure bookkeeping, no I/O and no clock. Work is registered in offset order and may finish in any
order; the committable offset never passes work that has not finished::

    offsets    [100, 150) done   [150, 180) in flight   [180, 240) done
    committable           150    ^ waits for this one

A ledger lives as long as one assignment of its partition. Work of an earlier assignment reports
to a ledger nobody reads any more, so it can never move the offset of a later one.
"""

from __future__ import annotations

from collections import deque

__all__ = ["PartitionLedger"]


class PartitionLedger:
    """In-flight work of one partition during one assignment.

    Args:
        committed: the group's offset when the assignment began, None if it has none. Nothing at
            or below it is ever committed again: an application that replays from an earlier
            snapshot does not move the group back.
        done: all before it is known to be done, however the group stands.
    """

    def __init__(self, committed: int | None = None, done: int | None = None) -> None:
        self._order: deque[int] = deque()
        self._in_flight: dict[int, tuple[int, int]] = {}
        self._ends: dict[int, int] = {}
        self._committed = committed
        self._finished_to = done
        self._registered_to: int | None = None
        self.bytes_in_flight = 0

    def register(self, first: int, next_offset: int, size: int = 0) -> None:
        """Note work over the offsets [first, next_offset), of `size` bytes.

        Raises:
            ValueError: the work is empty, or begins before the end of work registered earlier.
        """
        if next_offset <= first:
            msg = f"work over [{first}, {next_offset}) holds no offset; register what was fetched"
            raise ValueError(msg)
        if self._registered_to is not None and first < self._registered_to:
            msg = (
                f"work from offset {first} overlaps work up to {self._registered_to}; "
                "a partition is handed over once and in order"
            )
            raise ValueError(msg)
        self._order.append(first)
        self._in_flight[first] = (next_offset, size)
        self._registered_to = next_offset
        self.bytes_in_flight += size

    def extend(self, first: int, next_offset: int, size: int) -> None:
        """Note that the newest work, from `first`, goes on to `next_offset`, by `size` bytes.

        Raises:
            ValueError: it is not the newest, is done, or would not become longer.
        """
        end, before = self._in_flight.get(first, (-1, 0))
        if end != self._registered_to or next_offset <= end:
            msg = (
                f"work from {first} to {end} cannot go on to {next_offset}: only the newest, which "
                f"ends at {self._registered_to}, can"
            )
            raise ValueError(msg)
        self._in_flight[first] = (next_offset, before + size)
        self._registered_to = next_offset
        self.bytes_in_flight += size

    def finish(self, first: int) -> bool:
        """Note that the work from `first` is done; False if it is unknown or was done before."""
        work = self._in_flight.pop(first, None)
        if work is None:
            return False
        self._ends[first], size = work
        self.bytes_in_flight -= size
        while self._order and self._order[0] in self._ends:
            self._finished_to = self._ends.pop(self._order.popleft())
        return True

    @property
    def unfinished(self) -> int:
        """Pieces of work that are not done."""
        return len(self._in_flight)

    @property
    def registered_to(self) -> int | None:
        """End of the newest work, None before the first."""
        return self._registered_to

    @property
    def committable(self) -> int | None:
        """Offset to commit now; None if the group already has it."""
        if self._finished_to is None:
            return None
        if self._committed is not None and self._finished_to <= self._committed:
            return None
        return self._finished_to

    def confirm(self, offset: int) -> None:
        """Note that the broker has taken `offset`; never call it for a commit that failed."""
        self._committed = offset if self._committed is None else max(self._committed, offset)
