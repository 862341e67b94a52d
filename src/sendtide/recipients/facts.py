"""What became of sends, as label columns: what persons did, and that machines did something."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.recipients.machines import first_opens
from sendtide.recipients.outcome import Columns
from sendtide.recipients.tables import NEVER

__all__ = ["facts_of", "no_facts"]

_AS_THEY_STAND: Final = ("bounced", "unsubscribed", "complained")
"""Columns that are facts of a pending send."""
_OUTCOMES: Final = ("opened", "clicked", "converted", "machine_opened", *_AS_THEY_STAND)
"""Columns that tell yes or no."""


def facts_of(sends: NDArray[np.void], machines: NDArray[np.bool_], within_ms: int) -> Columns:
    """Label columns of n PENDING rows.

    machines: (n,) whose recipients open like one. within_ms: `JoinSettings.machine_within_ms`.
    """
    open_ms = first_opens(sends, machines, within_ms)
    opened, clicked = open_ms != NEVER, sends["click_ms"] != NEVER
    sign_ms = np.where(opened, open_ms, np.where(clicked, sends["click_ms"], NEVER))
    sign_ms = np.where(sign_ms != NEVER, sign_ms, sends["converted_ms"])
    delay_s = np.where(sign_ms != NEVER, (sign_ms - sends["sent_ms"]) // 1000, -1)
    return {
        "opened": opened.astype(np.uint8),
        "clicked": clicked.astype(np.uint8),
        "converted": (sends["converted_ms"] != NEVER).astype(np.uint8),
        "machine_opened": sends["machine"] | (open_ms != sends["open_ms"]).astype(np.uint8),
        **{name: sends[name] for name in _AS_THEY_STAND},
        "open_delay_s": delay_s.astype(np.int32),
    }


def no_facts(n: int) -> Columns:
    """Of n sends whose label is not known yet."""
    zeros = {name: np.zeros(n, np.uint8) for name in _OUTCOMES}
    return {**zeros, "open_delay_s": np.full(n, -1, np.int32)}
