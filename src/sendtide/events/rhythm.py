"""What is kept of a recipient's hours: how long mail waited in each, and when it was opened.

Time to open is a survival time with hazards by hour of the day. While a message waits unopened,
each hour is evidence of absence, weighed by how visible the message still is (`FRESHNESS`); the
hour of the open is evidence of presence. So an open hours after the send speaks for its own hour,
not the send's, and an hour at which much is sent does not look good for that. An open after
`REACH_H` hours says too little and counts as none, unless it led to a click or a conversion, which
reach twice as far; these need no open beside them (images blocked, or loaded by a machine) and then
speak for their own hour.

Evidence of a recipient is `EVIDENCE` numbers: waiting by bin of the local day, opens by bin, sends.
Waiting is counted in steps of an hour's `FRESHNESS_STEPS`-th part.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

__all__ = ["BINS", "BIN_HOURS", "EVIDENCE", "FRESHNESS", "FRESHNESS_STEPS", "NEVER_AGE", "REACH_H"]
__all__ += ["add_waiting", "engaged_age"]

BIN_HOURS: Final = 2
BINS: Final = 24 // BIN_HOURS
EVIDENCE: Final = 2 * BINS + 1
REACH_H: Final = 24
NEVER_AGE: Final = -1
FRESHNESS_STEPS: Final = 64
FRESHNESS: Final = np.rint(FRESHNESS_STEPS / (1 + np.arange(REACH_H) / 2) ** 2).astype(np.int64)
"""(24,) steps that an hour of waiting counts, by whole hours since the send: mail sinks under newer
mail. Of the few opens of people who are rarely there, at any hour alike, two fifths come in the
first hour and seven tenths in three by this."""
_HOUR_MS: Final = 3_600_000


@njit(cache=True)
def engaged_age(delay_ms: int, proven: bool) -> int:
    """Whole hours from send to the engagement that counts, NEVER_AGE if none.

    delay_ms: from send to the first sign of a person, negative if none. proven: there was a click
    or a conversion.
    """
    if delay_ms < 0:
        return NEVER_AGE
    age = delay_ms // _HOUR_MS
    return age if age < (2 * REACH_H if proven else REACH_H) else NEVER_AGE


@njit(cache=True)
def add_waiting(hour: int, age: int, steps: Any) -> None:
    """Add to (BINS,) the waiting of one message sent in a local hour and engaged with at an age."""
    waited = REACH_H if age == NEVER_AGE else min(age, REACH_H)
    for past in range(waited):
        steps[((hour + past) % 24) // BIN_HOURS] += FRESHNESS[past]
