"""Does a model serve every group alike? Losses, calibration and lift by time zone and by mailbox.

Time zones are bands of three hours of offset from UTC, read off a send's own local hour of the week
and its time, so that no example carries one column more; a zone half an hour off falls into the
hour below, and a recipient whose zone nobody told is in the band of UTC. Mailbox providers are
those of `events.mailbox`, a closed list of large ones: nobody's own domain is among them.

All are sums over rows, so they add up in any order, over partitions too. What leaves here
(`told`) names a client's TOP providers by labels; the rest of them are added to "other".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows
from sendtide.events.examples import CONTROL_ARM, REST_ARM
from sendtide.events.groups import BAND_HOURS, BANDS, PLACES, WESTMOST
from sendtide.events.hashing import hash_text
from sendtide.events.mailbox import OTHER_PROVIDER
from sendtide.monitoring.lift import CONTROL, REST, judge_lift

__all__ = ["TOP", "GroupLift", "GroupQuality", "group_places"]

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

TOP: Final = 8
"""Providers of a client that keep their names, most labels first."""
_HOUR_MS: Final = 3_600_000
_WEEK: Final = 168
_THURSDAY: Final = 72
"""Hour of the week at which 1970 began."""
_OTHER: Final = len(BANDS) + OTHER_PROVIDER
_CLUSTERS: Final = 32
"""Groups of recipients over which a lift's variance is taken: half as many as over all mail."""
_SCALE: Final = 0.02
"""The lift of the open rate one expects; see `monitoring.lift`."""
_TABLES: Final = ("rows", "sums", "began_ms")
_NEVER: Final = np.iinfo(np.int64).max


def group_places(
    hour_of_week: NDArray[np.integer[Any]], sent_at_ms: I64, provider: NDArray[np.integer[Any]]
) -> I64:
    """(n, 2) places in PLACES of n sends: of the time zone's band, of the mailbox provider.

    A band is that of the local hour of the week minus that in UTC.
    """
    utc = sent_at_ms // _HOUR_MS + _THURSDAY
    offset = (hour_of_week.astype(np.int64) - utc + _WEEK // 2) % _WEEK - _WEEK // 2
    bands = np.clip((offset - WESTMOST) // BAND_HOURS, 0, len(BANDS) - 1)
    return np.stack([bands, len(BANDS) + provider.astype(np.int64)], axis=1)


@njit(cache=True)
def _count(who: Any, target: int, places: Any, numbers: Any, rows: Any, sums: Any) -> None:
    predictions, losses, happened = numbers
    for i in range(len(who)):
        p, loss = predictions[i], losses[i]
        for j in range(places.shape[1]):
            row, place = who[i], places[i, j]
            rows[row, target, place, 0] += 1
            rows[row, target, place, 1] += happened[i]
            sums[row, target, place, 0] += p
            sums[row, target, place, 1] += loss
            sums[row, target, place, 2] += p * (1.0 - p)
            sums[row, target, place, 3] += loss * loss


class GroupQuality:
    """Sums by client, target and place.

    rows: (clients, targets, places, 2) int64 labels and positives. sums: (clients, targets, places,
    4) of predictions, log losses, variances p (1 - p), squared log losses. began_ms: (clients,)
    oldest send learned of, the largest integer before any.
    """

    def __init__(self, targets: int) -> None:
        self.rows: I64 = np.zeros((0, targets, len(PLACES), 2), np.int64)
        self.sums: F64 = np.zeros((0, targets, len(PLACES), 4))
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
        places: I64,
        predictions: F64,
        losses: F64,
        happened: NDArray[np.bool_],
    ) -> None:
        """Count n predictions made before their labels were learned, and their log losses."""
        numbers = (predictions, losses, happened)
        _count(rows, target, places, numbers, self.rows, self.sums)

    def hidden(self, row: int, target: int) -> I64:
        """Places of a client's providers that are told as "other"."""
        labels = self.rows[row, target, _OTHER + 1 :, 0]
        return np.asarray(_OTHER + 1 + np.argsort(-labels, kind="stable")[TOP:])

    def told(self, row: int, hidden: I64) -> dict[str, NDArray[Any]]:
        """What travels of one client: places that have labels, and their sums by target."""
        rows, sums = (_merged(table[row], hidden, axis=1) for table in (self.rows, self.sums))
        places = np.flatnonzero(rows[:, :, 0].any(axis=0))
        return {
            "groups.places": places.astype(np.uint8),
            "groups.rows": rows[:, places],
            "groups.sums": sums[:, places],
            "groups.began_ms": self.began_ms[row : row + 1].copy(),
        }

    def columns(self, rows: slice) -> dict[str, NDArray[Any]]:
        """Copies of some clients' rows."""
        return {f"groups.{name}": getattr(self, name)[rows].copy() for name in _TABLES}

    def restore(self, columns: Any) -> None:
        """Take over what `columns` gave of all clients."""
        for name in _TABLES:
            setattr(self, name, columns[f"groups.{name}"].copy())


@njit(cache=True)
def _count_arms(who: Any, places: Any, arm: Any, group: Any, opened: Any, counts: Any) -> None:
    for i in range(len(who)):
        if arm[i] != REST_ARM and arm[i] != CONTROL_ARM:
            continue
        side, cluster = CONTROL if arm[i] == CONTROL_ARM else REST, group[i] % _CLUSTERS
        for j in range(places.shape[1]):
            counts[who[i], places[i, j], 0, side, cluster] += 1
            counts[who[i], places[i, j], 1, side, cluster] += opened[i] != 0


class GroupLift:
    """Sends and opens of each place's control group and of the rest.

    counts: (clients, places, 2, 2, clusters) int32 sends and opens, by arm and recipients' group,
    of one draw of the control group; with another they begin anew.

    Args:
        share, salt: by which the control group is drawn.
    """

    def __init__(self, share: float, salt: str) -> None:
        self._draw = hash_text(f"{share!r} {salt}")
        self.counts: I32 = np.zeros((0, len(PLACES), 2, 2, _CLUSTERS), np.int32)

    def grow(self, clients: int) -> None:
        """Have room for so many clients."""
        self.counts = with_rows(self.counts, clients)

    def add(self, rows: I32, places: I64, arm: Any, group: Any, opened: Any) -> None:
        """Count n exposures with labels; those of no known arm are left out."""
        _count_arms(rows, places, arm, group, opened, self.counts)

    def told(self, row: int, hidden: I64, places: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """(k, 3) lift, low, high of some places of a client, NaN for too few; (k, 2) sends."""
        sends, opens = np.moveaxis(_merged(self.counts[row], hidden, axis=0)[places], 1, 0)
        judged = judge_lift(sends, opens, _SCALE)
        return {
            "groups.lifts": np.stack([judged.difference, judged.low, judged.high], axis=1),
            "groups.arms": sends.sum(axis=-1, dtype=np.int64),
        }

    def columns(self, rows: slice) -> dict[str, NDArray[Any]]:
        """Copies of some clients' rows."""
        draw = np.array([self._draw], np.uint64)
        return {"groups.counts": self.counts[rows].copy(), "groups.draw": draw}

    def restore(self, columns: Any) -> None:
        """Take over what `columns` gave of all clients, if it is of the same draw."""
        if columns["groups.draw"].tolist() == [self._draw]:
            self.counts = columns["groups.counts"].copy()


def _merged(table: NDArray[Any], hidden: I64, axis: int) -> NDArray[Any]:
    """A copy of a table whose hidden places are added to "other"'s."""
    out = np.moveaxis(table, axis, 0).copy()
    out[_OTHER] += out[hidden].sum(axis=0, dtype=out.dtype)
    out[hidden] = 0
    return np.moveaxis(out, 0, axis)
