"""Pending sends by the time they were made, so that what is due is found without the rest.

They hang in a ring of buckets. Two marks go around it: sends behind the first are labelled, sends
behind the second, a horizon later, have retired (see `join`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.recipients.join import DUE_BUCKETS, take_due
from sendtide.recipients.tables import NONE

__all__ = ["DueRing"]

I32 = NDArray[np.int32]

_PER_HORIZON: Final = 512
"""Buckets of a horizon: two horizons of pending sends, and as much again, fit into the ring."""
_NOWHERE: Final = 1 << 60


class DueRing:
    """The ring of one partition.

    heads: (DUE_BUCKETS,) first row of each bucket. width_ms: span of a bucket.
    """

    def __init__(self, horizon_ms: int) -> None:
        self.heads: I32 = np.full(DUE_BUCKETS, NONE, np.int32)
        self.width_ms = max(1, horizon_ms // _PER_HORIZON)
        self._horizon_ms = horizon_ms
        self._unlabelled = self._labelled = _NOWHERE

    def note(self, sends: NDArray[np.void]) -> None:
        """Have the marks go back to these PENDING rows, which hang in the ring already."""
        labelled = sends["labelled"] != 0
        self._unlabelled = min(self._unlabelled, self._first(sends, ~labelled))
        self._labelled = min(self._labelled, self._first(sends, labelled))

    def _first(self, sends: NDArray[np.void], chosen: NDArray[np.bool_]) -> int:
        """Bucket of the oldest of the chosen sends."""
        times = sends["sent_ms"][chosen]
        return int(times.min()) // self.width_ms if len(times) else _NOWHERE

    def to_label(self, due_ms: int, pending: Any, free: Any, index: Any) -> I32:
        """Rows whose horizon is over, in order of time and offset; see `join.take_due`."""
        rows, self._unlabelled = self._found(0, due_ms, self._unlabelled, pending, free, index)
        rows = rows[np.lexsort([pending["offset"][rows], pending["sent_ms"][rows]])]
        found = pending[rows]
        self._labelled = min(self._labelled, self._first(found, found["labelled"] != 0))
        return rows

    def to_retire(self, due_ms: int, pending: Any, free: Any, index: Any) -> I32:
        """Labelled rows that have waited for another horizon; see `join.take_due`."""
        waited_ms = due_ms - self._horizon_ms
        rows, self._labelled = self._found(1, waited_ms, self._labelled, pending, free, index)
        return rows

    def _found(
        self, labelled: int, due_ms: int, first: int, pending: Any, free: Any, index: Any
    ) -> tuple[I32, int]:
        """What is due from a bucket on, and the bucket to go on from."""
        last = due_ms // self.width_ms
        if last < first:
            return np.zeros(0, np.int32), first
        collect = np.empty(int(free[1]), np.int32)
        count = take_due(due_ms, first, last, labelled, self.heads, pending, free, *index, collect)
        return collect[:count], last
