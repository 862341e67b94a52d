"""Counts per client, and freshness per client and source: integers out of accepted rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.hashing import mix
from sendtide.events.messages import ENGAGEMENT_KINDS
from sendtide.recipients.join import client_row
from sendtide.recipients.tables import grown
from sendtide.state.index import EMPTY, find, fitting, insert, new_table, rebuilt, unknown
from sendtide.state.lag_buckets import LAG_BUCKETS, LAG_EDGES_MS, lag_buckets

__all__ = ["BUCKETS", "Counters", "FreshnessRow"]

BUCKETS: Final = ("applied", "duplicate", "late", "erased")
_TOPICS: Final = 3
_CELLS: Final = len(BUCKETS)
_KINDS: Final = len(ENGAGEMENT_KINDS)
_MICRO: Final = 1_000_000
_LATE: Final = BUCKETS.index("late")
_PAIR: Final = np.dtype([("client", "u8"), ("source", "u8"), ("newest_ms", "i8"), ("late", "i8")])


@dataclass(frozen=True, slots=True)
class FreshnessRow:
    """What a partition knows of one client's source; client and source are hashes.

    Lags (arrival minus event time) are of the events since the last window was closed, None without
    any; late: events behind the watermark, since the beginning.
    """

    client: int
    source: int
    newest_event_ms: int
    events: int
    lag_p50_s: float | None
    lag_p95_s: float | None
    lag_p99_s: float | None
    late: int


@njit(cache=True)
def _pair_keys(client: Any, source: Any) -> Any:
    keys = np.empty(len(client), np.uint64)
    for i in range(len(client)):
        keys[i] = mix(client[i] ^ mix(source[i]))
    return keys


@njit(cache=True)
def _pair_rows(
    client: Any,
    source: Any,
    time_ms: Any,
    lag: Any,
    buckets: Any,
    keys: Any,
    values: Any,
    pairs: Any,
    lags: Any,
    changed: Any,
    count: Any,
) -> None:
    for i in range(len(client)):
        key = mix(client[i] ^ mix(source[i]))
        row = find(keys, values, key)
        if row == EMPTY:
            row = np.int32(count[0])
            count[0] += 1
            insert(keys, values, key, row)
            pairs[row].client, pairs[row].source = client[i], source[i]
        changed[row] = 1
        if buckets[i] == _LATE:
            pairs[row].late += 1
        elif buckets[i] != 1:
            pairs[row].newest_ms = max(pairs[row].newest_ms, time_ms[i])
            lags[row, lag[i]] += 1


@njit(cache=True)
def _client_rows(
    client: Any,
    topic: int,
    buckets: Any,
    kinds: Any,
    keys: Any,
    values: Any,
    clients: Any,
    cells: Any,
    kind_cells: Any,
    changed: Any,
    count: Any,
) -> None:
    for i in range(len(client)):
        row = client_row(client[i], keys, values, clients, count)
        cells[row, topic, buckets[i]] += 1
        changed[row] = 1
        if len(kinds) and buckets[i] == 0:
            kind_cells[row, kinds[i]] += 1


class Counters:
    """All counts are absolute since the beginning of the log, so writing them twice is harmless."""

    def __init__(self) -> None:
        self._index = new_table(0)
        self._count = np.zeros(1, np.int64)
        self._clients = np.zeros(16, np.uint64)
        self._cells = np.zeros((16, _TOPICS, _CELLS), np.int64)
        self._kinds = np.zeros((16, _KINDS), np.int64)
        self._revenue = np.zeros(16, np.int64)
        self._changed = np.zeros(16, np.uint8)
        self._pair_index = new_table(0)
        self._pair_count = np.zeros(1, np.int64)
        self._pairs = np.zeros(16, _PAIR)
        self._lags = np.zeros((16, LAG_BUCKETS), np.uint32)
        self._lags_before = np.zeros(
            (16, LAG_BUCKETS), np.uint32
        )  # when the window began; no state
        self._pair_changed = np.zeros(16, np.uint8)

    def add(self, topic: int, batch: Any, buckets: NDArray[np.uint8]) -> None:
        """Count the rows of a batch by client, bucket, kind and source."""
        self._make_room(batch)
        kinds = getattr(batch, "kind", np.zeros(0, np.uint8))
        _client_rows(
            batch.client,
            topic,
            buckets,
            kinds,
            *self._index,
            self._clients,
            self._cells,
            self._kinds,
            self._changed,
            self._count,
        )
        self._add_revenue(batch, buckets)
        lag = lag_buckets(batch.timestamp_ms - batch.event_time_ms)
        named = batch.source != 0
        _pair_rows(
            batch.client[named],
            batch.source[named],
            batch.event_time_ms[named],
            lag[named],
            buckets[named],
            *self._pair_index,
            self._pairs,
            self._lags,
            self._pair_changed,
            self._pair_count,
        )

    def _make_room(self, batch: Any) -> None:
        new = unknown(batch.client, *self._index)
        if new.any():
            clients = int(self._count[0]) + len(np.unique(batch.client[new]))
            self._index = fitting(self._index, clients)
            for name in ("_clients", "_cells", "_kinds", "_revenue", "_changed"):
                setattr(self, name, grown(getattr(self, name), clients))
        keys = _pair_keys(batch.client, batch.source)
        new = unknown(keys, *self._pair_index)
        if new.any():
            pairs = int(self._pair_count[0]) + len(np.unique(keys[new]))
            self._pair_index = fitting(self._pair_index, pairs)
            for name in ("_pairs", "_lags", "_lags_before", "_pair_changed"):
                setattr(self, name, grown(getattr(self, name), pairs))

    def _add_revenue(self, batch: Any, buckets: NDArray[np.uint8]) -> None:
        if not hasattr(batch, "revenue"):
            return
        for i in np.flatnonzero((buckets == 0) & (batch.revenue > 0)).tolist():
            row = find(*self._index, batch.client[i])
            self._revenue[row] += round(float(batch.revenue[i]) * _MICRO)

    def take_clients(self) -> list[tuple[int, int, dict[str, int]]]:
        """(client hash, topic position, counts) of clients changed since the last call."""
        out = []
        rows = np.flatnonzero(self._changed[: int(self._count[0])])
        self._changed[rows] = 0
        clients, kinds = self._clients[rows].tolist(), self._kinds[rows].tolist()
        revenue, cells = self._revenue[rows].tolist(), self._cells[rows].tolist()
        told: NDArray[np.bool_] = self._cells[rows].astype(np.bool_).max(axis=2)
        told[:, 1] |= self._kinds[rows].any(axis=1) | (self._revenue[rows] != 0)
        for row, topic in zip(*(places.tolist() for places in np.nonzero(told)), strict=True):
            counts = dict(zip(BUCKETS, cells[row][topic], strict=True))
            if topic == 1:
                counts |= dict(zip(ENGAGEMENT_KINDS, kinds[row], strict=True))
                counts["revenue_micros"] = revenue[row]
            out.append((clients[row], topic, counts))
        return out

    def take_freshness(self) -> list[FreshnessRow]:
        """Freshness of (client, source) pairs changed since the last call."""
        rows = np.flatnonzero(self._pair_changed[: int(self._pair_count[0])])
        self._pair_changed[rows] = 0
        return self._freshness_rows(rows)

    def close_window(self) -> list[FreshnessRow]:
        """Freshness of the pairs that had events since the last call; lags begin anew."""
        n = int(self._pair_count[0])
        rows = np.flatnonzero((self._lags[:n] != self._lags_before[:n]).any(axis=1))
        closed = self._freshness_rows(rows)
        self._lags_before[rows] = self._lags[rows]
        return closed

    def mark_changed(self) -> None:
        """Let the next takes hold everything again: the last could not be written."""
        self._changed[: int(self._count[0])] = 1
        self._pair_changed[: int(self._pair_count[0])] = 1

    def _freshness_rows(self, rows: NDArray[np.int64]) -> list[FreshnessRow]:
        below = np.cumsum(self._lags[rows] - self._lags_before[rows], axis=1, dtype=np.int64)
        events = below[:, -1]
        edges = np.append(LAG_EDGES_MS, LAG_EDGES_MS[-1]) / 1000
        quantiles = []
        for share in (0.50, 0.95, 0.99):
            reached = below >= np.maximum(1.0, share * events)[:, None]
            lags = edges[reached.argmax(axis=1)]
            quantiles.append(np.where(events > 0, lags, np.nan).tolist())
        pairs = self._pairs[rows]
        columns = (pairs["client"], pairs["source"], pairs["newest_ms"], events, pairs["late"])
        return [
            FreshnessRow(
                client=client,
                source=source,
                newest_event_ms=newest_ms,
                events=count,
                lag_p50_s=p50 if count else None,
                lag_p95_s=p95 if count else None,
                lag_p99_s=p99 if count else None,
                late=late,
            )
            for (client, source, newest_ms, count, late), p50, p95, p99 in zip(
                zip(*(column.tolist() for column in columns), strict=True), *quantiles, strict=True
            )
        ]

    def columns(self) -> dict[str, NDArray[Any]]:
        """The counts, for a snapshot."""
        n, pairs = int(self._count[0]), int(self._pair_count[0])
        return {
            "counters.clients": self._clients[:n].copy(),
            "counters.cells": self._cells[:n].copy(),
            "counters.kinds": self._kinds[:n].copy(),
            "counters.revenue": self._revenue[:n].copy(),
            **{f"counters.pairs.{f}": self._pairs[f][:pairs].copy() for f in _PAIR.names or ()},
            "counters.lags": self._lags[:pairs].copy(),
        }

    @classmethod
    def restored(cls, columns: dict[str, NDArray[Any]]) -> Counters:
        """Counts out of a snapshot; all count as changed, so that readers get them again."""
        counters = cls()
        clients = columns["counters.clients"]
        counters._count[0] = len(clients)
        counters._index = rebuilt(clients, np.arange(len(clients), dtype=np.int32), len(clients))
        for name in ("clients", "cells", "kinds", "revenue"):
            setattr(counters, f"_{name}", columns[f"counters.{name}"].copy())
        counters._changed = np.ones(len(clients), np.uint8)
        lags = columns["counters.lags"]
        counters._pair_count[0] = len(lags)
        counters._pairs = np.zeros(len(lags), _PAIR)
        for name in _PAIR.names or ():
            counters._pairs[name] = columns[f"counters.pairs.{name}"]
        pairs = counters._pairs
        keys = _pair_keys(pairs["client"].copy(), pairs["source"].copy())
        counters._pair_index = rebuilt(keys, np.arange(len(lags), dtype=np.int32), len(lags))
        counters._lags, counters._lags_before = lags.copy(), lags.copy()
        counters._pair_changed = np.ones(len(lags), np.uint8)
        return counters
