"""A partition's state as columns, back again, and as a digest that ignores physical layout."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.creative import CREATIVE, Creatives
from sendtide.events.errors import CorruptData
from sendtide.recipients.codes import Codes
from sendtide.recipients.counters import Counters
from sendtide.recipients.join import DUE_BUCKETS
from sendtide.recipients.partition import SENDS, RecipientPartition
from sendtide.recipients.places import placed
from sendtide.recipients.settings import JoinSettings, PolicySettings
from sendtide.recipients.tables import NONE, ORPHAN, PENDING, RECIPIENT
from sendtide.state.index import EMPTY, find, insert, new_table
from sendtide.state.seen import SeenSet

__all__ = ["digest", "restore", "snapshot"]

Columns = dict[str, NDArray[Any]]
_VERSION = 6
"""Raised with every change of what the columns are or mean; older snapshots are then replayed."""
_BASE = ("rhythm", "waiting")
_LINKS = ("next", "due_next", "pending")
_CODES = ("client", "profile")
_ROWS_AT_ONCE = 4_096
"""Of recipients 320 kB."""


def _with_room(rows: int) -> int:
    """Rows to make place for: without some to spare the first new one would copy all the others."""
    return rows + rows // 4


def _in_flight(state: RecipientPartition) -> NDArray[np.int64]:
    used = int(state._pending_free[1])
    rows = state.pending[:used]
    return np.flatnonzero((rows["recipient"] != NONE) & (rows["identity"] != 0))


def _waiting(state: RecipientPartition) -> NDArray[np.int64]:
    """Orphans whose send may still come."""
    rows = state.orphans[: int(state._orphan_free[1])]
    return np.flatnonzero((rows["message"] != 0) & (rows["time_ms"] >= state.watermark(SENDS)))


def snapshot(state: RecipientPartition) -> tuple[dict[str, Any], Columns]:
    """(JSON-able meta, columns); all arrays are copies."""
    n, pending, orphans = state.recipients, _in_flight(state), _waiting(state)
    columns: Columns = {f"people.{f}": state.people[f][:n].copy() for f in RECIPIENT.names or ()}
    columns |= {"clients": state.clients.rows.copy(), "profiles": state.profiles.rows.copy()}
    columns |= {f"base.{name}": getattr(state, name)[:n].copy() for name in _BASE}
    columns |= {f"pending.{f}": state.pending[f][pending] for f in PENDING.names or ()}
    columns["pending.content"] = state.content[pending]
    used = state.creatives.of(state.pending["creative"][pending]).rows
    columns["creatives"] = np.frombuffer(used.tobytes(), np.uint8)
    columns |= {f"orphans.{f}": state.orphans[f][orphans] for f in ORPHAN.names or ()}
    for topic, seen in enumerate(state.seen):
        columns[f"seen.{topic}.young"], columns[f"seen.{topic}.old"] = seen.identities()
    columns["newest"] = state.newest[:, 0].copy()
    return {"version": _VERSION, "number": state.number}, {**columns, **state.counters.columns()}


def restore(
    number: int,
    settings: JoinSettings,
    meta: Mapping[str, Any],
    columns: Columns,
    policy: PolicySettings | None = None,
) -> RecipientPartition:
    """State out of `snapshot`; goes on exactly as the one that was written down.

    Raises:
        CorruptData: the snapshot is of another partition or version, or columns are missing.
    """
    found = meta.get("version"), meta.get("number")
    if found != (_VERSION, number):
        msg = f"snapshot of recipients is of (version, partition) {found}, not {_VERSION, number}"
        raise CorruptData(msg)
    try:
        return _restored(RecipientPartition(number, settings, policy), columns)
    except (KeyError, ValueError) as error:
        msg = f"snapshot of recipients' partition {number} does not fit this build: {error!r}"
        raise CorruptData(msg) from error


def _restored(state: RecipientPartition, columns: Columns) -> RecipientPartition:
    n = len(columns["people.high"])
    state.clients = Codes.restored(columns["clients"])
    state.profiles = Codes.restored(columns["profiles"])
    state._room_for_people(_with_room(n))
    _fill(state.people[:n], columns, "people")
    state.people["pending"][:n] = NONE
    for name in _BASE:
        getattr(state, name)[:n] = columns[f"base.{name}"]
    state._people_count[0] = n
    state._index = placed(state.people, n, _with_room(n))
    made = Creatives.of(np.frombuffer(columns["creatives"].tobytes(), CREATIVE))
    state.creatives.add(made, state.pending)
    _restore_pending(state, _structured(columns, "pending", PENDING), columns["pending.content"])
    _restore_orphans(state, _structured(columns, "orphans", ORPHAN))
    state.seen = [
        SeenSet.restored(
            state.settings.dedupe_window, columns[f"seen.{t}.young"], columns[f"seen.{t}.old"]
        )
        for t in range(3)
    ]
    state.newest[:, 0] = columns["newest"]
    state.counters = Counters.restored(columns)
    return state


def _structured(columns: Columns, prefix: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    names = dtype.names or ()
    rows = np.zeros(len(columns[f"{prefix}.{names[0]}"]), dtype)
    _fill(rows, columns, prefix)
    return rows


def _fill(rows: NDArray[Any], columns: Columns, prefix: str) -> None:
    """Columns into rows, a cache's worth at a time: every field touches every row.

    Raises:
        ValueError: a column has another length.
    """
    fields = {name: columns[f"{prefix}.{name}"] for name in rows.dtype.names or ()}
    for name, column in fields.items():
        if len(column) != len(rows):
            msg = f"column {prefix}.{name} has {len(column)} rows; the others have {len(rows)}"
            raise ValueError(msg)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        for name, column in fields.items():
            rows[name][part] = column[part]


def _restore_pending(
    state: RecipientPartition, rows: NDArray[Any], content: NDArray[np.float32]
) -> None:
    n = len(rows)
    state._room_for_pending(_with_room(n))
    state.pending[:n] = rows
    state.content[:n] = content
    state._pending_free[:] = NONE, n
    state.due.note(state.pending[:n])
    _link_pending(
        n, state.pending, state.people, state.due.heads, state.due.width_ms, *state._by_identity
    )


@njit(cache=True)
def _link_pending(
    n: int, pending: Any, people: Any, heads: Any, due_width: int, keys: Any, values: Any
) -> None:
    for row in range(n):
        send = pending[row]
        send.next = people[send.recipient].pending
        people[send.recipient].pending = row
        place = (send.sent_ms // due_width) % DUE_BUCKETS
        send.due_next = heads[place]
        heads[place] = row
        insert(keys, values, send.identity, np.int32(row))


def _restore_orphans(state: RecipientPartition, rows: NDArray[Any]) -> None:
    n = len(rows)
    state.orphans = np.zeros(max(64, n), ORPHAN)
    state.orphans[:n] = rows
    state._orphan_free[:] = NONE, n
    state._by_message = new_table(n)
    _link_orphans(n, state.orphans, *state._by_message)


@njit(cache=True)
def _link_orphans(n: int, orphans: Any, keys: Any, values: Any) -> None:
    for row in range(n):
        head = find(keys, values, orphans[row].message)
        orphans[row].next = head if head != EMPTY else NONE
        insert(keys, values, orphans[row].message, np.int32(row))


def digest(state: RecipientPartition) -> str:
    """Digest of all that can influence the future, sorted by keys.

    Left out: buckets and kinds per client, which say in which order topics were read when someone
    was erased; links, codes and free rows, which are layout.
    """
    n = state.recipients
    people, pending = state.people[:n], state.pending[_in_flight(state)]
    client, profile = state.clients.rows[people["client"]], state.profiles.rows[people["profile"]]
    order = np.lexsort([people["low"], people["high"], client[:, 0]])
    sha = hashlib.blake2b(digest_size=16)
    sha.update(client[order].tobytes() + profile[order].tobytes())
    for name in RECIPIENT.names or ():
        if name not in {*_LINKS, *_CODES}:
            sha.update(people[name][order].tobytes())
    for name in _BASE:
        sha.update(getattr(state, name)[:n][order].tobytes())
    by_identity = np.argsort(pending["identity"])
    owners = pending["recipient"][by_identity]
    sha.update(client[owners].tobytes())
    for name in ("high", "low"):
        sha.update(people[name][owners].tobytes())
    for name in PENDING.names or ():
        if name not in {*_LINKS, "recipient"}:
            sha.update(pending[name][by_identity].tobytes())
    sha.update(state.content[_in_flight(state)][by_identity].tobytes())
    orphans = state.orphans[_waiting(state)]
    fields = [name for name in ORPHAN.names or () if name != "next"]
    for name in fields:
        sha.update(orphans[name][np.lexsort([orphans[f] for f in fields])].tobytes())
    for seen in state.seen:
        for identities in seen.identities():
            sha.update(identities.tobytes())
    sha.update(state.newest.tobytes())
    return sha.hexdigest()
