"""The compiled loops of the join: one row after the other, in offset order.

What makes the state independent of how the topics interleave: a send's facts gather in its pending
row in any order; a recipient's base columns change only when a send retires, by sums, maxima and
minima, which do not care for order; and a send retires by the engagement topic's own watermark.
An engagement belongs to a send if `sent <= time < sent + horizon`, nothing else of it counts. Who
opened and clicked, machine or person, is worked out from a send's facts alone (`machines`).

A send is labelled when its horizon is over. One that nobody engaged with then retires. One that was
opened or clicked waits for another horizon: until then there may be sends to the same recipient
that were made before that open, and their labels must not know of it::

    sent ───── horizon ─────► labelled ───── horizon ─────► retired
      pending: facts gather      pending: facts by their times    base columns
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.events.examples import PERIOD_MS
from sendtide.events.rhythm import BIN_HOURS, BINS, NEVER_AGE, add_waiting, engaged_age
from sendtide.recipients.machines import first_sign, is_prompt, judge, remember
from sendtide.recipients.periods import counted, shifted
from sendtide.recipients.tables import (
    ABSENT,
    BYTE_MOST,
    MINUTE_MS,
    MOST,
    NEVER,
    NONE,
    RHYTHM_PERIODS,
    SETTLED,
    saturating_add,
)
from sendtide.state.index import EMPTY, delete, find, insert

__all__ = ["APPLIED", "DUPLICATE", "ERASED", "LATE"]
__all__ += ["DUE_BUCKETS", "add_orphan", "add_pending", "age_of", "client_row", "erase", "match"]
__all__ += ["settle", "take_due"]

APPLIED: Final = 0
DUPLICATE: Final = 1
LATE: Final = 2
ERASED: Final = 3

DELIVERED: Final = 0
OPEN: Final = 1
CLICK: Final = 2
BOUNCE: Final = 3
UNSUBSCRIBE: Final = 4
COMPLAINT: Final = 5
CONVERSION: Final = 6
"""Positions in `events.messages.ENGAGEMENT_KINDS`."""
_BY_MACHINE: Final = 2
"""Code of `EngagementBatch.machine`."""

DUE_BUCKETS: Final = 2048
"""Pending sends hang in a ring of buckets by send time, so that retiring looks at few of them."""


@njit(cache=True)
def client_row(client: Any, keys: Any, values: Any, clients: Any, count: Any) -> Any:
    """Dense row of a client; a new one is appended. count: (1,) rows in use."""
    row = find(keys, values, client)
    if row == EMPTY:
        row = np.int32(count[0])
        clients[row] = client
        insert(keys, values, client, row)
        count[0] += 1
    return row


@njit(cache=True)
def add_pending(
    identity: Any, recipient: Any, sent_ms: Any, offset: Any, pending: Any, free: Any, people: Any
) -> Any:
    """Take a free row for a send and link it to its recipient. free: (2,) first free row, used."""
    row = free[0]
    if row == NONE:
        row = free[1]
        free[1] += 1
    else:
        free[0] = pending[row].next
    send = pending[row]
    send.identity, send.recipient = identity, recipient
    send.sent_ms, send.offset = sent_ms, offset
    send.delivered_ms = send.open_ms = send.click_ms = send.converted_ms = NEVER
    send.opens[:] = ABSENT
    send.clicks[:] = ABSENT
    send.labelled = send.marked = 0
    send.machine = send.bounced = send.unsubscribed = send.complained = 0
    send.next = people[recipient].pending
    people[recipient].pending = row
    return row


@njit(cache=True)
def match(
    send: Any, person: Any, time_ms: Any, kind: Any, machine: Any, horizon_ms: Any, within_ms: Any
) -> Any:
    """Let an engagement become a fact of its send; True if it belongs to it.

    within_ms: so soon after the delivery nobody opens mail; see `machines`.
    """
    if time_ms < send.sent_ms or time_ms >= send.sent_ms + horizon_ms:
        return False
    if kind in (OPEN, CLICK):
        if machine == _BY_MACHINE:
            send.marked = send.machine = 1
        else:
            remember(send.opens if kind == OPEN else send.clicks, time_ms - send.sent_ms)
            judge(send, within_ms)
    elif kind == DELIVERED:
        if send.delivered_ms == NEVER or time_ms < send.delivered_ms:
            send.delivered_ms = time_ms
            if send.opens[0] != ABSENT or send.clicks[0] != ABSENT:
                judge(send, within_ms)
    elif kind == CONVERSION:
        if send.converted_ms == NEVER or time_ms < send.converted_ms:
            send.converted_ms = time_ms
    elif kind == BOUNCE:
        send.bounced = 1
    elif kind == UNSUBSCRIBE:
        send.unsubscribed = 1
    elif kind == COMPLAINT:
        send.complained = 1
    person.newest_ms = max(person.newest_ms, time_ms)
    return True


@njit(cache=True)
def add_orphan(
    message: Any,
    client: Any,
    high: Any,
    low: Any,
    time_ms: Any,
    kind: Any,
    machine: Any,
    orphans: Any,
    free: Any,
    keys: Any,
    values: Any,
) -> None:
    """Keep an engagement until its send comes."""
    row = free[0]
    if row == NONE:
        row = free[1]
        free[1] += 1
    else:
        free[0] = orphans[row].next
    orphan = orphans[row]
    orphan.message, orphan.client, orphan.high, orphan.low = message, client, high, low
    orphan.time_ms, orphan.kind, orphan.machine = time_ms, kind, machine
    orphan.next = find(keys, values, message)
    insert(keys, values, message, np.int32(row))


@njit(cache=True)
def _unlink_pending(row: Any, pending: Any, free: Any, people: Any) -> None:
    """Take a send out of its recipient's list and free its row."""
    person = people[pending[row].recipient]
    if person.pending == row:
        person.pending = pending[row].next
    else:
        before = person.pending
        while pending[before].next != row:
            before = pending[before].next
        pending[before].next = pending[row].next
    pending[row].recipient = NONE
    pending[row].next = free[0]
    free[0] = row


@njit(cache=True)
def erase(
    row: Any,
    people: Any,
    rhythm: Any,
    waiting: Any,
    pending: Any,
    keys: Any,
    values: Any,
    changed: Any,
) -> None:
    """Forget all of a recipient but that it was erased. Its sends in due buckets go when due."""
    person = people[row]
    while person.pending != NONE:
        send = person.pending
        delete(keys, values, pending[send].identity)
        person.pending = pending[send].next
        # Not freed yet: its due bucket still points here. An identity of 0 marks it.
        pending[send].identity = np.uint64(0)
        pending[send].next = NONE
    person.profile = 0
    person.profile_ms = person.newest_ms = NEVER
    person.last_send_min = person.last_open_min = NEVER
    person.sends = person.opens = person.clicks = person.prompt = 0
    person.period = 0
    person.period_sends = person.period_opens = np.uint64(0)
    person.erased, changed[row] = 1, 0
    rhythm[row, :] = 0
    waiting[row, :] = 0


@njit(cache=True)
def age_of(send: Any) -> Any:
    """`engaged_age` of a send."""
    sign_ms = first_sign(send)
    delay_ms = sign_ms - send.sent_ms if sign_ms != NEVER else NEVER
    return engaged_age(delay_ms, send.click_ms != NEVER or send.converted_ms != NEVER)


@njit(cache=True)
def _merge_rhythm(send: Any, row: Any, newest: Any, period: Any, rhythm: Any, waiting: Any) -> None:
    """Count a retired send in the half of its period; a half two back is forgotten.

    newest: the recipient's newest period before this send.
    """
    newest_half, half = newest // RHYTHM_PERIODS, period // RHYTHM_PERIODS
    for newer in range(max(newest_half + 1, half - 1), half + 1):
        first = (newer % 2) * (BINS + 1)
        rhythm[row, first : first + BINS + 1] = 0
        first = (newer % 2) * BINS
        waiting[row, first : first + BINS] = 0
    if half <= newest_half - 2:
        return
    age = age_of(send)
    first = (half % 2) * (BINS + 1)
    saturating_add(rhythm, row, first + BINS, 1, BYTE_MOST)
    if age != NEVER_AGE:
        place = ((send.hour + age) % 24) // BIN_HOURS
        saturating_add(rhythm, row, first + place, 1, BYTE_MOST)
    steps = np.zeros(BINS, np.int64)
    add_waiting(send.hour, age, steps)
    for b in range(BINS):
        saturating_add(waiting, row, (half % 2) * BINS + b, steps[b], MOST)


@njit(cache=True)
def _merge(send: Any, row: Any, people: Any, rhythm: Any, waiting: Any, within_ms: Any) -> None:
    """Add a retired send to its recipient's base columns; commutative, step by step."""
    person = people[row]
    opened = send.open_ms != NEVER
    person.sends = min(person.sends + 1, MOST)
    person.last_send_min = max(person.last_send_min, send.sent_ms // MINUTE_MS)
    if opened:
        person.opens = min(person.opens + 1, MOST)
        person.prompt = min(person.prompt + is_prompt(send, within_ms), MOST)
        person.last_open_min = max(person.last_open_min, send.open_ms // MINUTE_MS)
    if send.click_ms != NEVER:
        person.clicks = min(person.clicks + 1, MOST)
    period = send.sent_ms // PERIOD_MS
    _merge_rhythm(send, row, person.period, period, rhythm, waiting)
    if period > person.period:
        person.period_sends = shifted(person.period_sends, period - person.period)
        person.period_opens = shifted(person.period_opens, period - person.period)
        person.period = period
    person.period_sends = counted(person.period_sends, person.period - period)
    if opened:
        person.period_opens = counted(person.period_opens, person.period - period)


@njit(cache=True)
def take_due(
    due_ms: Any,
    first: int,
    last: int,
    labelled: int,
    heads: Any,
    pending: Any,
    free: Any,
    keys: Any,
    values: Any,
    collect: Any,
) -> Any:
    """Find sends with `sent_ms <= due_ms` in buckets first..last; return how many.

    labelled: 0 for those to be labelled now, 1 for those that were. collect: their rows, in no
    order. They are unhooked, for the caller to free with `settle`; only those to be labelled that
    somebody engaged with stay, marked `labelled`. Erased ones are freed here.
    """
    count = 0
    for bucket in range(first, min(last, first + DUE_BUCKETS - 1) + 1):
        place = bucket % DUE_BUCKETS
        kept = NONE
        row = heads[place]
        while row != NONE:
            send, stays = pending[row], True
            after = send.due_next
            if send.identity == np.uint64(0):
                send.recipient, send.next = NONE, free[0]
                free[0], stays = row, False
            elif send.sent_ms <= due_ms and send.labelled == labelled:
                collect[count] = row
                count += 1
                stays = not labelled and first_sign(send) != NEVER
                if stays:
                    send.labelled = 1
                else:
                    delete(keys, values, send.identity)
            if stays:
                send.due_next, kept = kept, row
            row = after
        heads[place] = kept
    return count


@njit(cache=True, nogil=True)
def settle(
    rows: Any,
    pending: Any,
    free: Any,
    people: Any,
    rhythm: Any,
    waiting: Any,
    changed: Any,
    within_ms: Any,
) -> None:
    """Merge retired sends into their recipients and free their rows."""
    for i in range(len(rows)):
        row = rows[i]
        recipient = pending[row].recipient
        if pending[row].bounced == 0:
            _merge(pending[row], recipient, people, rhythm, waiting, within_ms)
        changed[recipient] = max(changed[recipient], SETTLED)
        _unlink_pending(row, pending, free, people)
