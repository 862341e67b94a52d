"""What was known of a recipient at a time: base columns and pending sends together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sendtide.recipients.tables import DAY_HOURS, NEVER, NONE, PERIOD_MS, PERIODS

__all__ = ["histories", "live_counts"]

_HOUR_MS = 3_600_000.0


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
def live_counts(rows: Any, people: Any, exposures: Any, opens: Any, pending: Any) -> Any:
    """Return ((n, 24) exposures, (n, 24) opens) uint8 by local hour of the day.

    A pending send is an exposure only once it was opened: until its horizon it is censored.
    """
    n = len(rows)
    out_exposures = np.empty((n, DAY_HOURS), np.uint8)
    out_opens = np.empty((n, DAY_HOURS), np.uint8)
    for i in range(n):
        out_exposures[i] = exposures[rows[i]]
        out_opens[i] = opens[rows[i]]
        send = people[rows[i]].pending
        while send != NONE:
            s = pending[send]
            if s.open_ms != NEVER and s.bounced == 0:
                hour = s.hour % DAY_HOURS
                if out_exposures[i, hour] < 255:
                    out_exposures[i, hour] += 1
                if out_opens[i, hour] < 255:
                    out_opens[i, hour] += 1
            send = s.next
    return out_exposures, out_opens
