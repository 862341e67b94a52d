"""Event-time windows of integer counts.

Comes in: rows with a client row, an event time and one bin per series. Goes out: the finished
counts of each window, once, oldest first. Invariant: what a window holds depends on the rows in
their order only, never on how they were cut into blocks; counting is exact and is not judging.
Limit: at most 64 windows are open; memory is 64 x clients x series x bins x 4 bytes at worst.
"""

from sendtide.windows.tumbling import OPEN_WINDOWS, SKIP, ClosedWindow, TumblingCounts

__all__ = ["OPEN_WINDOWS", "SKIP", "ClosedWindow", "TumblingCounts"]
