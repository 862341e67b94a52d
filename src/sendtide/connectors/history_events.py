"""A log of sends as batches of the two input topics, an hour of event time after the other.

Of each hour the sends come first: what is predicted for them knows nothing of that hour's opens, as
in life a worker is a moment behind. Once a day of event time, from the first send until `end_ms`,
an engagement of nobody's message moves the watermark on, by which labels retire.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sendtide.connectors.history import History
from sendtide.connectors.mapping import FACTS
from sendtide.connectors.tables import NEVER
from sendtide.events.batch import EngagementBatch, SendBatch
from sendtide.events.creative import Creatives
from sendtide.events.hashing import hash_text
from sendtide.events.messages import ENGAGEMENT_KINDS

__all__ = ["Hour", "client_hashes", "hours_of"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_MOST_SENDS: Final = 20_000
_SOURCE: Final = "history"
_HEARTBEAT: Final = "sendtide-heartbeat"
_KINDS: Final = ("open", "click", "bounce", "unsubscribe", "complaint", "conversion")
"""Of FACTS, in their order."""
_BEAT: Final = len(FACTS)
_PER_ROW: Final = len(FACTS) + 2
"""Identities of a row: its send, its facts, and a heartbeat's; from 1, since 0 means none."""
_UNKNOWN, _MACHINE = 0, 2


@dataclass(frozen=True, slots=True)
class Hour:
    """Sends or engagements of one hour, or some of them. rows: of the sends, in the log."""

    start_ms: int
    rows: I64
    sends: SendBatch | None
    engagements: EngagementBatch | None


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Engagements in order of time: row of the send (of a heartbeat: its number), fact's code."""

    time_ms: I64
    row: I64
    fact: I64


def client_hashes(history: History) -> U64:
    """(clients,) hashes of their names."""
    return np.array([hash_text(name) for name in history.clients], np.uint64)


def hours_of(history: History, end_ms: int) -> Iterator[Hour]:
    """Cut a log into its hours; those in which nothing happened are left out.

    end_ms: until when time goes on; what is told of later than that is left out.
    """
    timeline = _timeline(history, end_ms)
    clients = client_hashes(history)
    sent, met = history.sent_at_ms // _HOUR_MS, timeline.time_ms // _HOUR_MS
    offset = 0
    for hour in np.union1d(sent, met).tolist():
        first, last = np.searchsorted(sent, [hour, hour + 1]).tolist()
        low, high = np.searchsorted(met, [hour, hour + 1]).tolist()
        start_ms = hour * _HOUR_MS
        for start in range(first, last, _MOST_SENDS):
            rows = np.arange(start, min(start + _MOST_SENDS, last))
            yield Hour(start_ms, rows, _sends(history, clients, rows), None)
        if low < high:
            batch = _engagements(history, clients, timeline, slice(low, high), offset)
            yield Hour(start_ms, np.zeros(0, np.int64), None, batch)
            offset += high - low


def _timeline(history: History, end_ms: int) -> _Timeline:
    first = int(history.sent_at_ms[0])
    beats = np.arange(first + _DAY_MS, max(end_ms, first) + _DAY_MS + 1, _DAY_MS)
    beats[-1] = max(end_ms, first)
    parts = [(beats, np.arange(len(beats)), np.full(len(beats), _BEAT))]
    for code, fact in enumerate(FACTS):
        at_ms = history.facts.at_ms[fact]
        rows = np.flatnonzero((at_ms != NEVER) & (at_ms <= end_ms))
        parts.append((at_ms[rows], rows, np.full(len(rows), code)))
    time_ms, row, fact_code = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time_ms, kind="stable")
    return _Timeline(time_ms[order], row[order], fact_code[order])


def _common(offset: I64, time_ms: I64, identity: U64, client: U64, recipient: U64) -> Any:
    """Columns of every batch."""
    return {
        "offset": offset,
        "timestamp_ms": time_ms,
        "event_time_ms": time_ms,
        "identity": identity,
        "source": np.full(len(offset), hash_text(_SOURCE), np.uint64),
        "client": client,
        "recipient": recipient,
    }


def _sends(history: History, clients: U64, rows: I64) -> SendBatch:
    return SendBatch(
        **_common(
            rows,
            history.sent_at_ms[rows],
            _identity(rows, 0),
            clients[history.client[rows]],
            history.ids[history.recipient[rows]],
        ),
        zone=history.zone[rows],
        segment=history.segment[rows],
        content=history.content[rows],
        creative=np.zeros(len(rows), np.uint64),
        creatives=Creatives.none(),
        erase=np.zeros(len(rows), np.uint8),
        provider=history.provider[rows],
    )


def _engagements(
    history: History, clients: U64, timeline: _Timeline, part: slice, offset: int
) -> EngagementBatch:
    row, fact = timeline.row[part], timeline.fact[part]
    beat = fact == _BEAT
    known = np.where(beat, 0, row)
    client = np.where(beat, np.uint64(hash_text(_HEARTBEAT)), clients[history.client[known]])
    recipient = history.ids[history.recipient[known]].copy()
    recipient[beat] = (0, 1)
    kinds = np.array([*(ENGAGEMENT_KINDS.index(name) for name in _KINDS), 0], np.uint8)
    by_machine = history.facts.machine[known] & (fact == FACTS.index("opened"))
    converted = fact == FACTS.index("converted")
    return EngagementBatch(
        **_common(
            offset + np.arange(len(row)),
            timeline.time_ms[part],
            _identity(row, fact + 1),
            client,
            recipient,
        ),
        message=np.where(beat, _identity(row, _BEAT + 1), _identity(row, 0)),
        kind=kinds[fact],
        machine=np.where(by_machine, _MACHINE, _UNKNOWN).astype(np.uint8),
        revenue=np.where(converted, history.facts.revenue[known], 0.0),
    )


def _identity(row: I64, which: int | I64) -> U64:
    return np.asarray(row * _PER_ROW + which + 1).astype(np.uint64)
