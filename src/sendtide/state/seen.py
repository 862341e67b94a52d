"""Which event identities were seen: any repeat within the last `window` accepted ones is caught.

Two generations of at most `window` identities each: a new one goes into the younger; when that is
full it becomes the older and the older is dropped. So at least the last `window` and at most the
last 2 `window` identities of the topic partition are known, in bounded memory, as a function of
the topic's own prefix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.state.index import EMPTY, find, fitting, insert, new_table, rebuilt

__all__ = ["SeenSet", "admit"]

U64 = NDArray[np.uint64]


@njit(cache=True)
def admit(identity: Any, young_keys: Any, young_values: Any, old_keys: Any, old_values: Any) -> Any:
    """True and remembered if the identity is new, False if it was seen."""
    if find(young_keys, young_values, identity) != EMPTY:
        return False
    if find(old_keys, old_values, identity) != EMPTY:
        return False
    insert(young_keys, young_values, identity, np.int32(1))
    return True


class SeenSet:
    """Identities of one topic partition. `tables()` are for compiled loops using `admit`."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.young, self.old = new_table(0), new_table(0)
        self.count = 0

    def room(self, rows: int) -> int:
        """Make room and return how many of `rows` may be admitted before `note` is called."""
        if self.count >= self.window:
            self.old, self.young, self.count = self.young, new_table(0), 0
        allowed = min(rows, self.window - self.count)
        self.young = fitting(self.young, self.count + allowed)
        return allowed

    def note(self, admitted: int) -> None:
        """Count what a loop admitted."""
        self.count += admitted

    def tables(self) -> tuple[U64, NDArray[np.int32], U64, NDArray[np.int32]]:
        """Young keys and values, old keys and values."""
        return (*self.young, *self.old)

    def __contains__(self, identity: int) -> bool:
        key = np.uint64(identity)
        return any(find(*table, key) != EMPTY for table in (self.young, self.old))

    def identities(self) -> tuple[U64, U64]:
        """Young and old identities, each sorted."""
        young, old = ((np.sort(keys[values != EMPTY])) for keys, values in (self.young, self.old))
        return young, old

    @classmethod
    def restored(cls, window: int, young: U64, old: U64) -> SeenSet:
        """Set with these generations."""
        seen = cls(window)
        seen.young = rebuilt(young, np.ones(len(young), np.int32), len(young))
        seen.old = rebuilt(old, np.ones(len(old), np.int32), len(old))
        seen.count = len(young)
        return seen
