"""What was known of a recipient at a time: base columns and pending sends together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.events.rhythm import BIN_HOURS, BINS, EVIDENCE, LATE, PROMPT, promptness
from sendtide.recipients.tables import NEVER, NONE, PERIOD_MS, PERIODS, RHYTHM_PERIODS

__all__ = ["evidence_of", "histories", "whole_counts"]

_HOUR_MS = 3_600_000.0
_HALF_MS = float(RHYTHM_PERIODS * PERIOD_MS)


@njit(cache=True)
def histories(
    rows: Any, times_ms: Any, people: Any, ring_sends: Any, ring_opens: Any, pending: Any
) -> Any:
    """Return (n, 7) float32 in the order of HISTORY_COLUMNS.

    A pending send counts if it was sent before the row's time, its open if it was opened before
    it. Bounced sends are no exposures.
    """
    out = np.empty((len(rows), 7), np.float32)
    for i in range(len(rows)):
        person, now = people[rows[i]], times_ms[i]
        sends, opens, clicks = float(person.sends), float(person.opens), float(person.clicks)
        period = now // PERIOD_MS
        recent_sends, recent_opens = 0.0, 0.0
        for p in range(max(person.period - PERIODS + 1, period - PERIODS + 1), person.period + 1):
            recent_sends += ring_sends[rows[i], p % PERIODS]
            recent_opens += ring_opens[rows[i], p % PERIODS]
        last_send, last_open = person.last_send_ms, person.last_open_ms
        send = person.pending
        while send != NONE:
            s = pending[send]
            if s.bounced == 0 and s.sent_ms < now:
                recent = s.sent_ms // PERIOD_MS > period - PERIODS
                sends += 1
                recent_sends += recent
                last_send = max(last_send, s.sent_ms)
                if s.open_ms != NEVER and s.open_ms < now:
                    opens += 1
                    recent_opens += recent
                    last_open = max(last_open, s.open_ms)
                if s.click_ms != NEVER and s.click_ms < now:
                    clicks += 1
            send = s.next
        out[i, 0], out[i, 1], out[i, 2] = sends, opens, clicks
        out[i, 3], out[i, 4] = recent_sends, recent_opens
        out[i, 5] = (now - last_send) / _HOUR_MS if last_send != NEVER else np.nan
        out[i, 6] = (now - last_open) / _HOUR_MS if last_open != NEVER else np.nan
    return out


@njit(cache=True)
def evidence_of(
    rows: Any, times_ms: Any, people: Any, rhythm: Any, pending: Any, settled: bool
) -> Any:
    """Return (n, EVIDENCE) float32: what is known at a time of when a recipient opens.

    Of the two halves the older one fades linearly while the newer one fills, so that memory is 24
    to 48 weeks and does not depend on the order of events. settled: pending sends before the time
    are final and all count; otherwise one counts only once it was opened: until its horizon it is
    censored.
    """
    out = np.zeros((len(rows), EVIDENCE), np.float32)
    for i in range(len(rows)):
        person, now = people[rows[i]], times_ms[i]
        newest_half = person.period // RHYTHM_PERIODS
        for half in range(newest_half - 1, newest_half + 1):
            weight = min(max(2.0 - (now / _HALF_MS - half), 0.0), 1.0)
            first = (half % 2) * EVIDENCE
            for j in range(EVIDENCE):
                out[i, j] += weight * rhythm[rows[i], first + j]
        send = person.pending
        while send != NONE:
            s = pending[send]
            send = s.next
            if s.bounced or (s.sent_ms >= now if settled else s.open_ms == NEVER):
                continue
            place = (s.hour % 24) // BIN_HOURS
            out[i, place] += 1
            delay_ms = s.open_ms - s.sent_ms if s.open_ms != NEVER else NEVER
            how = promptness(delay_ms, s.click_ms != NEVER)
            if how == PROMPT:
                out[i, BINS + place] += 1
            elif how == LATE:
                out[i, 2 * BINS] += 1
    return out


def whole_counts(evidence: NDArray[np.float32] | None, n: int) -> NDArray[np.uint8]:
    """(n, EVIDENCE) as it travels with examples: rounded, at most 255; zeros for None."""
    if evidence is None:
        return np.zeros((n, EVIDENCE), np.uint8)
    return np.asarray(np.minimum(np.rint(evidence), 255), np.uint8)
