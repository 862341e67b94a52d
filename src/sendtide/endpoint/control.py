"""The control group at the endpoint: its hours are drawn from the window, not chosen.

Who is of it is `events.hashing.in_control`, as everywhere. The draw is a function of the recipient
and its window, so that a question asked again has the same answer; a stranger of the group gets an
hour too, since nothing need be known of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sendtide.events.hashing import hash_text, in_control, window_draws

__all__ = ["ControlGroup"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroup:
    """Share of each client's recipients and the salt that draws them; of the pipeline file."""

    share: float = 0.05
    salt: str = ""

    def draws(
        self, clients: Sequence[str], recipients: Sequence[str], start_ms: I64, end_ms: I64
    ) -> F64:
        """(n,) numbers in [0, 1) that draw the hours of the group's rows, NaN for the others.

        recipients: 32 hex digits each.
        """
        codes = {client: hash_text(client) for client in set(clients)}
        client = np.array([codes[name] for name in clients], np.uint64)
        digits = bytes.fromhex("".join(recipients))
        ids = np.frombuffer(digits, ">u8").astype(np.uint64).reshape(-1, 2)
        drawn = window_draws(client, ids, start_ms, end_ms)
        drawn[~in_control(client, ids, self.salt, self.share)] = np.nan
        return drawn
