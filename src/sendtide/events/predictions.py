"""Answers to many requests in columns: what the recipients' room makes and writers turn to JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import Names
from sendtide.events.texts import Texts

__all__ = ["LISTED_SLOTS", "NO_SLOT", "Predictions"]

LISTED_SLOTS: Final = 8
"""Slots of the window, those with the highest scores, that an answer lists."""
NO_SLOT: Final = -1
"""The hour in the place of a slot that a shorter window does not have."""

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class Predictions:
    """`messages.PredictionMessage` of n requests; all columns of length n.

    source, client: hashes, whose spellings are in `sources` and `clients`. recipient: (n, 2).
    interval: (n, 2). arm, tier: codes of `hashing.ARMS` and `records.TIERS`. slot_times,
    slot_hours, slot_scores: (n, LISTED_SLOTS), best first, NO_SLOT where there is none.
    """

    sources: Names
    clients: Names
    ids: Texts
    source: NDArray[np.uint64]
    client: NDArray[np.uint64]
    recipient: NDArray[np.uint64]
    requested_at_ms: I64
    send_at_ms: I64
    open_probability: F32
    slot_probability: F32
    interval: F32
    arm: NDArray[np.uint8]
    propensity: NDArray[np.float64]
    slot_times: I64
    slot_hours: I64
    slot_scores: F32
    tier: NDArray[np.uint8]
    effective_sends: F32
    model_version: NDArray[Any]
    newest_event_ms: I64

    def __len__(self) -> int:
        return len(self.ids)
