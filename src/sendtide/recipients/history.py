"""What was known of a recipient at a time: base columns and pending sends together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.examples import PERIOD_MS
from sendtide.events.rhythm import (
    BIN_HOURS,
    BINS,
    EVIDENCE,
    FRESHNESS_STEPS,
    NEVER_AGE,
    add_waiting,
)
from sendtide.recipients.join import age_of
from sendtide.recipients.machines import first_sign, is_prompt, opens_like_machine
from sendtide.recipients.periods import counted, newest_sum, shifted
from sendtide.recipients.tables import MINUTE_MS, NEVER, NONE, RHYTHM_PERIODS

__all__ = ["evidence_of", "histories", "travelling"]

_HOUR_MS = 3_600_000.0
_RECENT_PERIODS = 12
_HALF_MS = float(RHYTHM_PERIODS * PERIOD_MS)


@njit(cache=True, nogil=True)
def histories(rows: Any, times_ms: Any, people: Any, pending: Any, within_ms: Any) -> Any:
    """Return (n, 7) float32, (n, 2) uint64 and (n,) int32: HISTORY_COLUMNS in their order.

    And (n,) bool: who opens like a machine by then; of their opens nothing is told.

    A pending send counts if it was sent before the row's time, its open if it was opened before
    it. Bounced sends are no exposures.
    """
    out = np.empty((len(rows), 7), np.float32)
    words = np.empty((len(rows), 2), np.uint64)
    periods = np.empty(len(rows), np.int32)
    machines = np.empty(len(rows), np.bool_)
    for i in range(len(rows)):
        person, now = people[rows[i]], times_ms[i]
        sends, opens, clicks = float(person.sends), float(person.opens), float(person.clicks)
        prompt = float(person.prompt)
        period = now // PERIOD_MS
        period_sends = shifted(person.period_sends, period - person.period)
        period_opens = shifted(person.period_opens, period - person.period)
        last_send = person.last_send_min * MINUTE_MS if person.last_send_min != NEVER else NEVER
        last_open = person.last_open_min * MINUTE_MS if person.last_open_min != NEVER else NEVER
        send = person.pending
        while send != NONE:
            s = pending[send]
            if s.bounced == 0 and s.sent_ms < now:
                age = period - s.sent_ms // PERIOD_MS
                sends += 1
                period_sends = counted(period_sends, age)
                last_send = max(last_send, s.sent_ms)
                if s.open_ms != NEVER and s.open_ms < now:
                    opens += 1
                    prompt += is_prompt(s, within_ms)
                    period_opens = counted(period_opens, age)
                    last_open = max(last_open, s.open_ms)
                if s.click_ms != NEVER and s.click_ms < now:
                    clicks += 1
            send = s.next
        machines[i] = opens_like_machine(prompt, opens, sends)
        if machines[i]:
            opens, period_opens, last_open = 0.0, np.uint64(0), np.int64(NEVER)
        out[i, 0], out[i, 1], out[i, 2] = sends, opens, clicks
        out[i, 3] = newest_sum(period_sends, _RECENT_PERIODS)
        out[i, 4] = newest_sum(period_opens, _RECENT_PERIODS)
        out[i, 5] = max(now - last_send, 0) / _HOUR_MS if last_send != NEVER else np.nan
        out[i, 6] = max(now - last_open, 0) / _HOUR_MS if last_open != NEVER else np.nan
        words[i, 0], words[i, 1], periods[i] = period_sends, period_opens, period
    return out, words, periods, machines


@njit(cache=True, nogil=True)
def evidence_of(
    rows: Any,
    times_ms: Any,
    machines: Any,
    people: Any,
    rhythm: Any,
    waiting: Any,
    pending: Any,
    settled: bool,
) -> Any:
    """Return (n, EVIDENCE) float32: what is known at a time of when a recipient opens, in hours.

    Of the two halves the older one fades linearly while the newer one fills, so that memory is 24
    to 48 weeks and does not depend on the order of events. settled: pending sends before the time
    are final and all count; otherwise one counts only once a person was seen or it was labelled:
    until its horizon it is censored. machines: (n,) as `histories` finds: no hours are known.
    """
    out = np.zeros((len(rows), EVIDENCE), np.float32)
    for i in range(len(rows)):
        if machines[i]:
            continue
        person, now = people[rows[i]], times_ms[i]
        newest_half = person.period // RHYTHM_PERIODS
        for half in range(newest_half - 1, newest_half + 1):
            weight = min(max(2.0 - (now / _HALF_MS - half), 0.0), 1.0)
            for j in range(BINS):
                out[i, j] += weight * waiting[rows[i], (half % 2) * BINS + j]
            for j in range(BINS + 1):
                out[i, BINS + j] += weight * rhythm[rows[i], (half % 2) * (BINS + 1) + j]
        send = person.pending
        while send != NONE:
            s = pending[send]
            send = s.next
            censored = first_sign(s) == NEVER and not s.labelled
            if s.bounced or (s.sent_ms >= now if settled else censored):
                continue
            age = age_of(s)
            add_waiting(s.hour, age, out[i])
            if age != NEVER_AGE:
                out[i, BINS + ((s.hour + age) % 24) // BIN_HOURS] += 1
            out[i, 2 * BINS] += 1
        for j in range(BINS):
            out[i, j] /= FRESHNESS_STEPS
    return out


def travelling(evidence: NDArray[np.float32] | None, n: int) -> NDArray[np.uint16]:
    """(n, EVIDENCE) as it goes with examples: waiting in steps, all rounded; zeros for None."""
    if evidence is None:
        return np.zeros((n, EVIDENCE), np.uint16)
    steps = evidence.copy()
    steps[:, :BINS] *= FRESHNESS_STEPS
    return np.asarray(np.minimum(np.rint(steps), 65_535), np.uint16)
