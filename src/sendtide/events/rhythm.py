"""What is kept of a recipient's hours: three-hour bins of the local day, and a time-to-open kernel.

A send counts in the bin of its local hour. An open within `PROMPT_MS` speaks for that hour; a
later one says little about it and counts for no bin, only as "opened late". A click is firmer
evidence than an open: it reaches twice as far, and needs no open beside it (images blocked).
Evidence of a recipient is `EVIDENCE` numbers: sends by bin, prompt opens by bin, late opens.
"""

from __future__ import annotations

from typing import Final

from numba import njit

__all__ = ["BINS", "BIN_HOURS", "EVIDENCE", "LATE", "NOT", "PROMPT", "PROMPT_MS", "promptness"]

BIN_HOURS: Final = 3
BINS: Final = 24 // BIN_HOURS
EVIDENCE: Final = 2 * BINS + 1
PROMPT_MS: Final = 3 * 3_600_000

NOT: Final = 0
LATE: Final = 1
PROMPT: Final = 2


@njit(cache=True)
def promptness(delay_ms: int, clicked: bool) -> int:
    """NOT, LATE or PROMPT. delay_ms: from send to the first open by a person, negative if none."""
    if delay_ms < 0:
        return PROMPT if clicked else NOT
    return PROMPT if delay_ms < (2 * PROMPT_MS if clicked else PROMPT_MS) else LATE
