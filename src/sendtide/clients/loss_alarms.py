"""Alarms on the log loss: one ADWIN per client, raised only when things get worse.

A worsening opens a client's alarm; a later improvement closes it, or `QUIET_LABELS` labels without
another worsening, since the new level is then what the model does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows
from sendtide.monitoring.adwin import LossWatch

__all__ = ["LOSS_CEILING", "QUIET_LABELS", "LossAlarms", "LossChange"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

QUIET_LABELS: Final = 5_000
LOSS_CEILING: Final = 3.0
"""Nats; ADWIN's bound holds for values in 0..1, so losses are cut here and scaled."""
_FIRING, _DUE, _SEEN, _SINCE = range(4)
"""Places of a client's row in `state`; due and seen count labels."""


@dataclass(frozen=True, slots=True)
class LossChange:
    """An alarm that opened or closed; before_, after_: mean log loss around the last worsening."""

    client_row: int
    firing: bool
    since_ms: int
    at_ms: int
    before: float
    after: float


@njit(cache=True)
def _turn(
    rows: Any, times: Any, verdicts: Any, means: Any, quiet: int, state: Any, levels: Any
) -> Any:
    """Advance the alarms row by row.

    Returns 1 where one opened, -1 where one closed; since when; the means around the last cut.
    """
    turned = np.zeros(len(rows), np.int8)
    since = np.zeros(len(rows), np.int64)
    at = np.zeros((len(rows), 2), np.float64)
    for i in range(len(rows)):
        s, level = state[rows[i]], levels[rows[i]]
        s[2] += 1
        if verdicts[i] != 0:
            level[0], level[1] = means[i, 0], means[i, 1]
        if verdicts[i] == 1:
            s[1] = s[2] + quiet
            if s[0] == 0:
                s[0], s[3], turned[i] = 1, times[i], 1
        elif s[0] == 1 and (verdicts[i] == -1 or s[2] >= s[1]):
            s[0], turned[i] = 0, -1
        since[i] = s[3]
        at[i] = level
    return turned, since, at


class LossAlarms:
    """ADWIN and alarm of each client row."""

    def __init__(self, delta: float) -> None:
        self._watch = LossWatch(delta)
        self._state: I64 = np.zeros((0, 4), np.int64)
        self._levels: F64 = np.zeros((0, 2))

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        self._watch.grow(clients)
        self._state = with_rows(self._state, clients)
        self._levels = with_rows(self._levels, clients)

    def firing(self, client_row: int) -> bool:
        """Whether a client's alarm is open."""
        return bool(self._state[client_row, _FIRING])

    def add(self, rows: I32, times: I64, losses: F64) -> list[LossChange]:
        """Take n log losses in order; return the alarms they opened and closed, in order."""
        scaled = np.minimum(losses, LOSS_CEILING) / LOSS_CEILING
        verdicts, means = self._watch.update(rows, scaled)
        turned, since, levels = _turn(
            rows, times, verdicts, means, QUIET_LABELS, self._state, self._levels
        )
        return [
            LossChange(
                client_row=int(rows[i]),
                firing=bool(turned[i] > 0),
                since_ms=int(since[i]),
                at_ms=int(times[i]),
                before=float(levels[i, 0] * LOSS_CEILING),
                after=float(levels[i, 1] * LOSS_CEILING),
            )
            for i in np.flatnonzero(turned)
        ]

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """Copies of all tables, cut to the clients in use."""
        columns = {f"watch.{n}": c[:clients] for n, c in self._watch.snapshot().items()}
        return columns | {
            "state": self._state[:clients].copy(),
            "levels": self._levels[:clients].copy(),
        }

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        watch = {n.removeprefix("watch."): c for n, c in columns.items() if n.startswith("watch.")}
        self._watch.restore(watch)
        self._state, self._levels = columns["state"].copy(), columns["levels"].copy()
