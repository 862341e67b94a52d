"""The rows a partition keeps: recipients, pending sends, orphaned engagements.

Times are milliseconds since 1970, NEVER where there is none. Links are row numbers, NONE at an end.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.rhythm import BINS

__all__ = [
    "ABSENT",
    "BYTE_MOST",
    "CONTENT",
    "HEARD",
    "LATEST",
    "MINUTE_MS",
    "MOST",
    "NEVER",
    "NONE",
    "ORPHAN",
    "PENDING",
    "RECIPIENT",
    "RHYTHM",
    "RHYTHM_PERIODS",
    "SETTLED",
    "WAITING",
    "grown",
    "saturating_add",
]

NONE: Final = -1
NEVER: Final = -1
ABSENT: Final = np.uint32(2**32 - 1)
"""No time among those remembered of a message."""
LATEST: Final = 3
"""Of a message's opens and clicks the three earliest and, in this place, the latest are kept:
whatever the order in which they come, the same are left."""
SETTLED: Final = 1
"""A recipient's record has changed because time has passed: a send was labelled or retired."""
HEARD: Final = 2
"""It has changed because an event came."""
CONTENT: Final = 5
MINUTE_MS: Final = 60_000
BYTE_MOST: Final = 255
MOST: Final = 65_535
"""Counts stay there: min(sum, most) does not depend on order."""
RHYTHM_PERIODS: Final = 17
"""Ten-day periods in one half of the rhythm; the half before it fades while this one fills."""
WAITING: Final = 2 * BINS
"""Columns of a recipient's waiting by bin: the even half, the odd one."""
RHYTHM: Final = 2 * (BINS + 1)
"""Columns of a recipient's rhythm: opens by bin and sends of the even half, and of the odd one."""

RECIPIENT: Final = np.dtype(
    [
        ("high", "u8"),
        ("low", "u8"),
        ("client", "i4"),  # code of it
        ("pending", "i4"),  # first of the recipient's pending sends
        ("profile", "i4"),  # code of zone and segment of the newest send, the later of two at once
        ("profile_ms", "i8"),  # its time
        ("newest_ms", "i8"),  # newest event in any of the numbers
        ("period_sends", "u8"),  # of retired sends, as are all that follow; see `periods`
        ("period_opens", "u8"),
        ("last_send_min", "i4"),  # minutes since 1970
        ("last_open_min", "i4"),
        ("sends", "u2"),
        ("opens", "u2"),
        ("clicks", "u2"),
        ("prompt", "u2"),  # opens that came at once; see `machines`
        ("period", "i2"),  # newest period with a retired send, the first of the two words above
        ("erased", "u1"),
    ]
)
PENDING: Final = np.dtype(
    [
        ("identity", "u8"),
        ("recipient", "i4"),
        ("next", "i4"),  # of the same recipient; free rows are linked through it too
        ("due_next", "i4"),  # of the same due bucket
        ("sent_ms", "i8"),
        ("offset", "i8"),
        ("delivered_ms", "i8"),
        ("open_ms", "i8"),  # first open by a person, as are the next two
        ("click_ms", "i8"),
        ("converted_ms", "i8"),
        ("opens", "u4", (LATEST + 1,)),  # unmarked ones, milliseconds after the send; ABSENT
        ("clicks", "u4", (LATEST + 1,)),
        ("segment", "u8"),
        ("creative", "u8"),  # code of what the message is made of, 0 if it did not tell
        ("hour", "u1"),  # of the week, local
        ("provider", "u1"),  # code of the mailbox provider
        ("marked", "u1"),  # an open or click of it was marked as a machine's
        ("machine", "u1"),  # a machine opened or clicked it, marked or not
        ("bounced", "u1"),
        ("unsubscribed", "u1"),
        ("complained", "u1"),
        ("labelled", "u1"),  # its horizon is over; an engaged one waits for another: see `join`
    ]
)
ORPHAN: Final = np.dtype(
    [
        ("message", "u8"),
        ("client", "u8"),
        ("high", "u8"),
        ("low", "u8"),
        ("time_ms", "i8"),
        ("next", "i4"),  # of the same message; free rows are linked through it too
        ("kind", "u1"),
        ("machine", "u1"),
    ]
)


def grown(rows: NDArray[Any], needed: int) -> NDArray[Any]:
    """`rows`, or a longer copy if `needed` do not fit."""
    if needed <= len(rows):
        return rows
    wider = np.zeros((max(needed, 2 * len(rows)), *rows.shape[1:]), rows.dtype)
    wider[: len(rows)] = rows
    return wider


@njit(cache=True)
def saturating_add(table: Any, row: int, column: int, amount: int, most: int) -> None:
    """Add to a cell, which stays at `most`: min(sum, most) does not depend on order."""
    table[row, column] = min(int(table[row, column]) + amount, most)
