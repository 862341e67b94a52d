"""The compiled loops over a batch: a bucket for every row, and what an applied row changes.

A repeat of a row that was taken is a duplicate, however late it comes. A row behind the watermark
is not taken and not remembered, so that its repeat is late as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sendtide.recipients.join import (
    APPLIED,
    DUE_BUCKETS,
    DUPLICATE,
    ERASED,
    LATE,
    add_orphan,
    add_pending,
    erase,
    match,
)
from sendtide.recipients.places import locate
from sendtide.recipients.tables import HEARD, NONE
from sendtide.state.index import EMPTY, delete, find, insert
from sendtide.state.seen import admit

__all__ = ["engagement_rows", "request_rows", "send_rows"]


@njit(cache=True, nogil=True)
def send_rows(
    batch: Any,
    hours: Any,
    start: int,
    end: int,
    newest: Any,
    lateness_ms: int,
    horizon_ms: int,
    within_ms: int,
    due_width: int,
    seen: Any,
    index: Any,
    people: Any,
    people_count: Any,
    changed: Any,
    base: Any,
    pending: Any,
    content: Any,
    pending_free: Any,
    by_identity: Any,
    heads: Any,
    orphans: Any,
    orphan_free: Any,
    by_message: Any,
    buckets: Any,
    placed: Any,
) -> Any:
    """Rows start..end of `email.sends`; returns how many identities were admitted.

    placed: (n,) the pending row of each applied send, NONE elsewhere.
    """
    (identity, client, code, ids, time_ms, offset) = batch[:6]
    (profile, segment, measures, creative, tombstone, provider) = batch[6:]
    admitted = 0
    for i in range(start, end):
        placed[i] = NONE
        if tombstone[i]:
            row = locate(code[i], ids[i, 0], ids[i, 1], index, people, people_count, True)
            erase(row, people, *base, pending, *by_identity, changed)
            forget_orphans(client[i], ids[i, 0], ids[i, 1], orphans, orphan_free, by_message)
            buckets[i] = APPLIED
            continue
        if time_ms[i] < newest[0] - lateness_ms:
            buckets[i] = LATE
            if find(seen[0], seen[1], identity[i]) != EMPTY or (
                find(seen[2], seen[3], identity[i]) != EMPTY
            ):
                buckets[i] = DUPLICATE
            continue
        if not admit(identity[i], *seen):
            buckets[i] = DUPLICATE
            continue
        admitted += 1
        newest[0] = max(newest[0], time_ms[i])
        row = locate(code[i], ids[i, 0], ids[i, 1], index, people, people_count, True)
        person = people[row]
        if person.erased:
            buckets[i] = ERASED
            # Whatever waited for it is told as an engagement is that comes after it.
            drop_orphans(identity[i], orphans, orphan_free, by_message)
            continue
        buckets[i] = APPLIED
        if time_ms[i] >= person.profile_ms:
            person.profile_ms, person.profile = time_ms[i], profile[i]
        person.newest_ms = max(person.newest_ms, time_ms[i])
        changed[row] = HEARD  # its record tells how many were sent, whether or not more follows
        send = add_pending(identity[i], row, time_ms[i], offset[i], pending, pending_free, people)
        placed[i] = send
        pending[send].hour, pending[send].segment = hours[i], segment[i]
        pending[send].creative, pending[send].provider = creative[i], provider[i]
        for j in range(content.shape[1]):
            content[send, j] = measures[i, j]
        insert(*by_identity, identity[i], np.int32(send))
        place = (time_ms[i] // due_width) % DUE_BUCKETS
        pending[send].due_next = heads[place]
        heads[place] = send
        waiting = orphans, orphan_free, by_message
        meet_orphans(send, row, pending, people, changed, *waiting, horizon_ms, within_ms)
    return admitted


@njit(cache=True)
def meet_orphans(
    send: Any,
    row: Any,
    pending: Any,
    people: Any,
    changed: Any,
    orphans: Any,
    free: Any,
    by_message: Any,
    horizon_ms: int,
    within_ms: int,
) -> None:
    """Match the engagements that came before their send, and free their rows."""
    orphan = find(*by_message, pending[send].identity)
    if orphan == EMPTY:
        return
    delete(*by_message, pending[send].identity)
    while orphan != NONE:
        found = orphans[orphan]
        after = found.next
        facts = found.time_ms, found.kind, found.machine
        if match(pending[send], people[row], *facts, horizon_ms, within_ms):
            changed[row] = HEARD
        found.next = free[0]
        found.message = np.uint64(0)
        free[0] = orphan
        orphan = after


@njit(cache=True)
def drop_orphans(message: Any, orphans: Any, free: Any, by_message: Any) -> None:
    """Drop what waits for one message."""
    orphan = find(*by_message, message)
    while orphan != EMPTY:
        drop_orphan(orphan, orphans, free, by_message)
        orphan = find(*by_message, message)


@njit(cache=True)
def forget_orphans(
    client: Any, high: Any, low: Any, orphans: Any, free: Any, by_message: Any
) -> None:
    """Drop every orphan of one recipient; erasures are rare, so this looks at all of them."""
    for row in range(free[1]):
        orphan = orphans[row]
        if orphan.message == np.uint64(0) or orphan.client != client:
            continue
        if orphan.high == high and orphan.low == low:
            drop_orphan(row, orphans, free, by_message)


@njit(cache=True)
def drop_orphan(row: Any, orphans: Any, free: Any, by_message: Any) -> None:
    """Take one orphan out of its message's list and free its row."""
    message = orphans[row].message
    head = find(*by_message, message)
    if head == row:
        if orphans[row].next == NONE:
            delete(*by_message, message)
        else:
            insert(*by_message, message, np.int32(orphans[row].next))
    else:
        while orphans[head].next != row:
            head = orphans[head].next
        orphans[head].next = orphans[row].next
    orphans[row].message = np.uint64(0)
    orphans[row].next = free[0]
    free[0] = row


@njit(cache=True, nogil=True)
def engagement_rows(
    batch: Any,
    start: int,
    end: int,
    newest: Any,
    lateness_ms: int,
    horizon_ms: int,
    within_ms: int,
    seen: Any,
    sends_seen: Any,
    index: Any,
    people: Any,
    people_count: Any,
    changed: Any,
    pending: Any,
    by_identity: Any,
    orphans: Any,
    orphan_free: Any,
    by_message: Any,
    buckets: Any,
    sends_floor_ms: int,
) -> Any:
    """Rows start..end of `email.engagements`; returns how many identities were admitted.

    sends_floor_ms: watermark of the sends; an unmatched engagement before it has no send to come.
    """
    identity, client, code, ids, time_ms, message, kind, machine = batch
    admitted = 0
    for i in range(start, end):
        if time_ms[i] < newest[0] - lateness_ms:
            buckets[i] = LATE
            if find(seen[0], seen[1], identity[i]) != EMPTY or (
                find(seen[2], seen[3], identity[i]) != EMPTY
            ):
                buckets[i] = DUPLICATE
            continue
        if not admit(identity[i], *seen):
            buckets[i] = DUPLICATE
            continue
        admitted += 1
        newest[0] = max(newest[0], time_ms[i])
        row = locate(code[i], ids[i, 0], ids[i, 1], index, people, people_count, False)
        if row != NONE and people[row].erased:
            buckets[i] = ERASED
            continue
        buckets[i] = APPLIED
        send = find(*by_identity, message[i])
        if send != EMPTY:
            owner = pending[send].recipient
            facts = time_ms[i], kind[i], machine[i]
            if match(pending[send], people[owner], *facts, horizon_ms, within_ms):
                changed[owner] = HEARD
        elif time_ms[i] >= sends_floor_ms and (
            find(sends_seen[0], sends_seen[1], message[i]) == EMPTY
            and find(sends_seen[2], sends_seen[3], message[i]) == EMPTY
        ):
            add_orphan(
                message[i],
                client[i],
                ids[i, 0],
                ids[i, 1],
                time_ms[i],
                kind[i],
                machine[i],
                orphans,
                orphan_free,
                *by_message,
            )
    return admitted


@njit(cache=True, nogil=True)
def request_rows(
    batch: Any,
    start: int,
    end: int,
    newest: Any,
    lateness_ms: int,
    seen: Any,
    index: Any,
    people: Any,
    people_count: Any,
    buckets: Any,
    rows: Any,
) -> Any:
    """Rows start..end of `email.requests`: buckets, and each one's recipient row or NONE."""
    identity, code, ids, time_ms = batch
    admitted = 0
    for i in range(start, end):
        rows[i] = NONE
        if time_ms[i] < newest[0] - lateness_ms:
            buckets[i] = LATE
            if find(seen[0], seen[1], identity[i]) != EMPTY or (
                find(seen[2], seen[3], identity[i]) != EMPTY
            ):
                buckets[i] = DUPLICATE
            continue
        if not admit(identity[i], *seen):
            buckets[i] = DUPLICATE
            continue
        admitted += 1
        newest[0] = max(newest[0], time_ms[i])
        rows[i] = locate(code[i], ids[i, 0], ids[i, 1], index, people, people_count, False)
        erased = rows[i] != NONE and people[rows[i]].erased
        buckets[i] = ERASED if erased else APPLIED
    return admitted
