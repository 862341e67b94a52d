"""Drift of what the models see and say: references, windows, alarms.

Series are the model's watched features, content as it came (NaN where missing), and the prediction.
Each client's reference is its first `reference_rows` exposures; the bin edges are the deciles of
the first 500 of them, and fixed from then on. Content is compared from the first row on. Histories
and predictions start theirs only when the client has learned as many labels, since both move by
themselves while histories fill and the model is new. Reference rows are in no window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.clients.roster import with_rows
from sendtide.clients.settings import ClientSettings
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.models.propensity import WATCHED
from sendtide.monitoring.alarms import Alarms, AlarmSettings, Changes
from sendtide.monitoring.psi import BINS, CELLS, psi, psi_p_value, reference_edges
from sendtide.windows.tumbling import SKIP, ClosedWindow, TumblingCounts

__all__ = ["SERIES", "JudgedWindow", "Watching"]

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

SERIES: Final = (*WATCHED, *CONTENT_FIELDS, "prediction")
_EDGE_ROWS: Final = 500
"""Rows that fix the deciles: kept as they are until then, 28 KB a client."""
_CONTENT_FROM: Final = len(WATCHED)
_GROUPS: Final = (
    np.arange(_CONTENT_FROM, len(SERIES) - 1),
    np.append(np.arange(_CONTENT_FROM), len(SERIES) - 1),
)
"""Series by when their reference begins: content at once; histories and the prediction later."""


_TABLES: Final = (
    *("effects", "p_values", "judged_windows"),
    *("_seen", "_edges", "_reference"),
)
"""Attributes of `Watching` with one row per client."""


@dataclass(frozen=True, slots=True)
class JudgedWindow:
    """Scores of one window, all (clients, series); `n_current` 0 where nothing was judged."""

    start_ms: int
    end_ms: int
    effects: F64
    p_values: F64
    judged: NDArray[np.bool_]
    n_reference: I64
    n_current: I64
    changes: Changes


@njit(cache=True)
def _cell(value: float, edges: Any) -> int:
    """Cell of one value between the (9,) edges; the last one if it is missing."""
    if np.isnan(value):
        return len(edges) + 1
    cell = 0
    for k in range(len(edges)):
        cell += edges[k] <= value
    return cell


@njit(cache=True)
def _place_group(
    values: Any, mine: Any, n: int, limits: Any, first: Any, edges: Any, reference: Any, bins: Any
) -> None:
    """Put one row's series `mine` where its client's group stands after `n` reference rows."""
    edge_rows, reference_rows = limits
    for j in mine:
        if n < edge_rows:
            first[n, j] = values[j]
            continue
        cell = _cell(values[j], edges[:, j])
        if n < reference_rows:
            reference[j, cell] += 1
        else:
            bins[j] = cell


@njit(cache=True)
def _place(
    begin: int,
    group: int,
    rows: Any,
    values: Any,
    learned: Any,
    groups: Any,
    limits: Any,
    tables: Any,
    bins: Any,
) -> tuple[int, int]:
    """Put rows into references or bins, beginning with `group` of row `begin`.

    limits: rows that fix the edges, rows of a reference. tables: seen, first, edges, reference.
    Stops where a client's edges are due, after this (row, group); else returns (n, 0).
    """
    seen, first, edges, reference = tables
    for i in range(begin, len(rows)):
        row = rows[i]
        while group < 2:
            n = seen[row, group]
            waiting = group == 1 and learned[row] < limits[1]
            if not waiting:
                mine = groups[group]
                _place_group(
                    values[i], mine, n, limits, first[row], edges[row], reference[row], bins[i]
                )
                if n < limits[1]:
                    seen[row, group] = n + 1
                    if n + 1 == limits[0]:
                        return i, group
            group += 1
        group = 0
    return len(rows), 0


class Watching:
    """References, open windows and alarms of a partition's clients."""

    def __init__(self, settings: ClientSettings) -> None:
        self.settings = settings
        self._edge_rows = min(_EDGE_ROWS, settings.reference_rows)
        self._windows = TumblingCounts(
            settings.window_ms,
            settings.window_lateness_ms,
            len(SERIES),
            CELLS,
            fewest=settings.minimum_count,
        )
        self.alarms = Alarms(
            len(SERIES), AlarmSettings(settings.alpha, settings.psi_floor, settings.dwell_windows)
        )
        n = len(SERIES)
        self.effects: F64 = np.zeros((0, n))
        self.p_values: F64 = np.zeros((0, n))
        self.judged_windows: I64 = np.zeros(0, np.int64)
        self._seen: I32 = np.zeros((0, 2), np.int32)
        self._first: F32 = np.zeros((0, self._edge_rows, n), np.float32)
        self._edges: F64 = np.zeros((0, BINS - 1, n))
        self._reference: I64 = np.zeros((0, n, CELLS), np.int64)

    @property
    def late(self) -> int:
        """Rows whose window was closed."""
        return self._windows.late

    def grow(self, clients: int) -> None:
        """Have room for `clients` rows."""
        for name in _TABLES:
            setattr(self, name, with_rows(getattr(self, name), clients))
        self._first = with_rows(self._first, clients)
        self._windows.grow(clients)
        self.alarms.grow(clients)

    def add(
        self,
        origins: NDArray[Any],
        rows: I32,
        times: I64,
        x: F64,
        content: F32,
        predictions: F64,
        learned: I64,
    ) -> list[JudgedWindow]:
        """Count n exposures in order; judge the windows they close.

        Args:
            origins: (n,) partitions they come from.
            rows: (n,) client rows.
            times: (n,) event times, ms.
            x: (n, features) model input.
            content: (n, 5) as it came.
            predictions: (n,).
            learned: labels learned so far, by client.
        """
        values = np.empty((len(rows), len(SERIES)), np.float32)
        values[:, :_CONTENT_FROM] = x[:, :_CONTENT_FROM]
        values[:, _CONTENT_FROM:-1] = content
        values[:, -1] = predictions
        bins = self._bins(rows, values, learned)
        return [self._judge(window) for window in self._windows.add(rows, times, bins, origins)]

    def _bins(self, rows: I32, values: F32, learned: I64) -> U8:
        bins = np.full((len(rows), len(SERIES)), SKIP, np.uint8)
        limits = (self._edge_rows, self.settings.reference_rows)
        tables = (self._seen, self._first, self._edges, self._reference)
        done, group = _place(0, 0, rows, values, learned, _GROUPS, limits, tables, bins)
        while done < len(rows):
            self._fix_edges(int(rows[done]), group)
            done, group = _place(
                done, group + 1, rows, values, learned, _GROUPS, limits, tables, bins
            )
        return bins

    def _fix_edges(self, row: int, group: int) -> None:
        """Cut a client's bins at the deciles of its first rows, and count those rows."""
        mine = _GROUPS[group]
        first = self._first[row][:, mine]
        edges = reference_edges(first)
        self._edges[row][:, mine] = edges
        for j, series in enumerate(mine.tolist()):
            cells = np.searchsorted(edges[:, j], first[:, j].astype(np.float64), side="right")
            cells[np.isnan(first[:, j])] = BINS
            self._reference[row, series] = np.bincount(cells, minlength=CELLS)
        self._first[row][:, mine] = 0

    def _judge(self, window: ClosedWindow) -> JudgedWindow:
        # Tables grow at different steps; rows beyond the shortest belong to nobody yet.
        clients = min(len(window.counts), len(self._reference))
        current = window.counts[:clients].astype(np.int64)
        reference = self._reference[:clients]
        n_current = current.sum(axis=-1)
        judged = n_current >= self.settings.minimum_count
        effects, p_values = np.zeros(judged.shape), np.ones(judged.shape)
        effects[judged] = psi(reference[judged], current[judged])
        p_values[judged] = psi_p_value(reference[judged], current[judged], effects[judged])
        self.effects[:clients][judged] = effects[judged]
        self.p_values[:clients][judged] = p_values[judged]
        self.judged_windows[:clients] += judged.any(axis=1)
        self.alarms.grow(clients)
        changes = self.alarms.judge(effects, p_values, judged, window.start_ms)
        n_reference = reference.sum(axis=-1)
        return JudgedWindow(
            window.start_ms,
            window.end_ms,
            effects,
            p_values,
            judged,
            n_reference,
            n_current,
            changes,
        )

    def snapshot(self, clients: int) -> dict[str, NDArray[Any]]:
        """Copies of all tables, cut to the clients in use."""
        columns = {name.lstrip("_"): getattr(self, name)[:clients].copy() for name in _TABLES}
        # Most clients' first rows are counted and gone; those that are not would be most of it.
        seen = self._seen[:clients]
        held = np.flatnonzero(((seen > 0) & (seen < self._edge_rows)).any(axis=1))
        columns |= {"first_rows": held, "first": self._first[held]}
        columns |= {f"windows.{n}": c for n, c in self._windows.snapshot(clients).items()}
        return columns | {f"alarms.{n}": c[:clients] for n, c in self.alarms.snapshot().items()}

    def restore(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `snapshot` gave."""
        for name in _TABLES:
            setattr(self, name, columns[name.lstrip("_")].copy())
        self._first = with_rows(self._first, len(self._seen))
        self._first[columns["first_rows"]] = columns["first"]
        for part, owner in (("windows.", self._windows), ("alarms.", self.alarms)):
            owner.restore(
                {n.removeprefix(part): c for n, c in columns.items() if n.startswith(part)}
            )
