"""What machines did with a message, told from what a person did.

Some opens and clicks come marked: by the event's `machine`, the provider's own flag, or by its
`user_agent` (`events.user_agents`). That one is not marked says nothing. Of those:

- *Haste.* What comes within `machine_within` of the delivery, or before it, no person did: mail has
  first to be noticed. Without a `delivered` event the send's own time counts. Mautic by default
  asks for 2 s after the send (mautic/mautic#16263), Warmbly came from 10 s to a setting of the
  operator's, since queues lie between (warmbly/warmbly#438), MetaCompliance calls clicks within
  "several seconds" of the delivery a scanner's (support.metacompliance.com, 13056444972817).
- *Burst.* More than two clicks on one message within a second are a scanner that tries its links
  (Adobe Marketo Engage, "proximity pattern", September 2022; two may be a double click). What was
  opened and clicked from a second before to `machine_within` after the first of them was its doing
  too: scanners take up to a second a link (mautic/mautic#9798).
- *Volume.* Nobody is always there when mail comes. Of a recipient for whom at least `MANY_PROMPT`
  messages were opened within a minute of the delivery, who are nine tenths of all that were opened
  and half of all that were sent, a minute takes the place of `machine_within`, and nothing is known
  of when that person opens. The numbers are ours, on the safe side of what people do.

A minute and a second are so for `machine_within` = 10 s and go with it, for clocks that run faster.
A later open or click by a person counts, whatever machines did before. Of a message's opens and
clicks the three earliest and the latest are remembered (`tables.LATEST`), and what they say of
persons is worked out anew with each, so that the order in which they came does not matter.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

from sendtide.recipients.tables import ABSENT, LATEST, NEVER

__all__ = ["MANY_PROMPT", "PROMPT", "first_opens", "first_sign", "is_prompt", "judge"]
__all__ += ["opens_like_machine", "remember"]

PROMPT: Final = 6
"""An open at once comes within so many times `machine_within`."""
MANY_PROMPT: Final = 8
"""Fewer opens at once say nothing."""
_OF_OPENS: Final = 0.9
_OF_SENDS: Final = 0.5
_BURST_PART: Final = 10
"""A burst's clicks lie within this part of `machine_within`."""
_MOST_CLICKS: Final = 2
"""Of a person within that time."""


@njit(cache=True)
def remember(times: Any, after_ms: Any) -> None:
    """Take a time, milliseconds after the send, among the (LATEST + 1,) of a message."""
    time = np.uint32(after_ms)
    if times[LATEST] == ABSENT or time > times[LATEST]:
        times[LATEST] = time
    for place in range(LATEST):
        if time < times[place]:
            times[place], time = time, times[place]


@njit(cache=True)
def _first(times: Any, from_ms: Any, pause_ms: Any, resume_ms: Any) -> Any:
    """The first remembered time from `from_ms` on and not from pause to resume, NEVER if none."""
    for place in range(LATEST + 1):
        time = np.int64(times[place])
        if times[place] != ABSENT and time >= from_ms and not pause_ms <= time < resume_ms:
            return time
    return np.int64(NEVER)


@njit(cache=True)
def _delivered_after(send: Any) -> Any:
    """Milliseconds from send to delivery, 0 if none is known."""
    return max(send.delivered_ms - send.sent_ms, 0) if send.delivered_ms != NEVER else 0


@njit(cache=True)
def _people_only(send: Any, times: Any, haste_ms: Any, within_ms: Any) -> Any:
    """When a person first did what `times` are of, NEVER if none; within_ms 0: all are people."""
    if within_ms == 0:
        return np.int64(send.sent_ms) + times[0] if times[0] != ABSENT else np.int64(NEVER)
    pause, resume = np.int64(0), np.int64(0)
    third, width = send.clicks[_MOST_CLICKS], within_ms // _BURST_PART
    if third != ABSENT and np.int64(third) - np.int64(send.clicks[0]) < width:
        pause = np.int64(send.clicks[0]) - width
        resume = np.int64(send.clicks[0]) + within_ms
    found = _first(times, _delivered_after(send) + haste_ms, pause, resume)
    return send.sent_ms + found if found != NEVER else np.int64(NEVER)


@njit(cache=True)
def judge(send: Any, within_ms: Any) -> None:
    """Work out anew who opened and clicked a message."""
    send.open_ms = _people_only(send, send.opens, within_ms, within_ms)
    send.click_ms = _people_only(send, send.clicks, within_ms, within_ms)
    by_machine = send.opens[0] != ABSENT and send.open_ms != send.sent_ms + send.opens[0]
    clicked = send.clicks[0] != ABSENT and send.click_ms != send.sent_ms + send.clicks[0]
    send.machine = send.marked or by_machine or clicked


@njit(cache=True)
def first_opens(sends: Any, machines: Any, within_ms: Any) -> Any:
    """(n,) int64, when a person first opened each send, NEVER if none did.

    machines: (n,) whose recipients `opens_like_machine`: of theirs, what came at once does not
    count.
    """
    found = np.empty(len(sends), np.int64)
    for i in range(len(sends)):
        send = sends[i]
        found[i] = send.open_ms
        if machines[i]:
            found[i] = _people_only(send, send.opens, PROMPT * within_ms, within_ms)
    return found


@njit(cache=True)
def is_prompt(send: Any, within_ms: Any) -> Any:
    """Whether a message's first open by a person came at once."""
    if within_ms == 0 or send.open_ms == NEVER:
        return False
    return send.open_ms < send.sent_ms + _delivered_after(send) + PROMPT * within_ms


@njit(cache=True)
def opens_like_machine(prompt: Any, opens: Any, sends: Any) -> Any:
    """Whether so many opens at once, of all opens and sends, are more than a person's."""
    return prompt >= max(MANY_PROMPT, _OF_OPENS * opens, _OF_SENDS * sends)


@njit(cache=True)
def first_sign(send: Any) -> Any:
    """When a person was first seen: the open, without one the click or the conversion; NEVER."""
    if send.open_ms != NEVER:
        return send.open_ms
    return send.click_ms if send.click_ms != NEVER else send.converted_ms
