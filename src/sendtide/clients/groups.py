"""Does a model serve every group alike? Losses and calibration by the recipients' time zones.

Groups are bands of three hours of offset from UTC, read off a send's own local hour of the week and
its time, so that no example carries one column more; a zone half an hour off falls into the hour
below, and a recipient whose zone nobody told is in the band of UTC. All are sums over rows, so they
add up in any order, over partitions too. Mailbox providers are not told apart: events name none,
and recipients are hashes of addresses.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.quality import bounded_log_losses
from sendtide.clients.roster import with_rows

__all__ = ["BANDS", "GroupQuality", "offset_bands"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_HOUR_MS: Final = 3_600_000
_WEEK: Final = 168
_THURSDAY: Final = 72
"""Hour of the week at which 1970 began."""
_WEST, _WIDTH, _COUNT = -12, 3, 9
BANDS: Final = tuple(
    f"UTC{_WEST + _WIDTH * i:+d} to {_WEST + _WIDTH * (i + 1) - 1:+d}" for i in range(_COUNT)
)
_TABLES: Final = ("rows", "sums", "began_ms")
_NEVER: Final = np.iinfo(np.int64).max


def offset_bands(hour_of_week: NDArray[np.integer[Any]], sent_at_ms: I64) -> NDArray[np.int64]:
    """Place in BANDS of n sends: local hour of the week minus that in UTC."""
    utc = sent_at_ms // _HOUR_MS + _THURSDAY
    offset = (hour_of_week.astype(np.int64) - utc + _WEEK // 2) % _WEEK - _WEEK // 2
    return np.asarray(np.clip((offset - _WEST) // _WIDTH, 0, _COUNT - 1))


@njit(cache=True)
def _count(who: Any, target: int, bands: Any, numbers: Any, rows: Any, sums: Any) -> None:
    predictions, losses, happened = numbers
    for i in range(len(who)):
        rows[who[i], target, bands[i], 0] += 1
        rows[who[i], target, bands[i], 1] += happened[i]
        sums[who[i], target, bands[i], 0] += predictions[i]
        sums[who[i], target, bands[i], 1] += losses[i]


class GroupQuality:
    """Sums by client, target and band.

    rows: (clients, targets, bands, 2) int64 labels and positives. sums: (clients, targets, bands,
    2) of predictions and log losses. began_ms: (clients,) oldest send learned of, the largest
    integer before any.
    """

    def __init__(self, targets: int) -> None:
        self.rows: I64 = np.zeros((0, targets, _COUNT, 2), np.int64)
        self.sums: F64 = np.zeros((0, targets, _COUNT, 2))
        self.began_ms: I64 = np.zeros(0, np.int64)

    def grow(self, clients: int) -> None:
        """Have room for so many clients."""
        had = len(self.began_ms)
        for name in _TABLES:
            setattr(self, name, with_rows(getattr(self, name), clients))
        self.began_ms[had:] = _NEVER

    def begin(self, rows: I32, sent_at_ms: I64) -> None:
        """Note n sends as learned of."""
        np.minimum.at(self.began_ms, rows, sent_at_ms)

    def add(
        self,
        rows: I32,
        target: int,
        bands: NDArray[np.int64],
        predictions: F64,
        happened: NDArray[np.bool_],
    ) -> None:
        """Count n predictions made before their labels were learned."""
        losses = bounded_log_losses(predictions, happened)
        numbers = (predictions, losses, happened)
        _count(rows, target, bands, numbers, self.rows, self.sums)

    def columns(self, rows: slice) -> dict[str, NDArray[Any]]:
        """Copies of some clients' rows."""
        return {f"groups.{name}": getattr(self, name)[rows].copy() for name in _TABLES}

    def restore(self, columns: Any) -> None:
        """Take over what `columns` gave of all clients."""
        for name in _TABLES:
            setattr(self, name, columns[f"groups.{name}"].copy())
