"""How often one person may be written to: rolling caps over what was sent and what is planned."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sendtide.schedule.problem import Constraints, Requests, Sent

__all__ = ["People", "broken_caps"]

I64 = NDArray[np.int64]


class People(NamedTuple):
    """Whose requests are whose.

    person: (n,) of each request. requests: the requests ordered by person, those of p at
    [first[p], first[p + 1]). sent_ms: times of what was sent, those of p at
    [sent_first[p], sent_first[p + 1]). free: (n,) whether no other message can matter. lengths_ms,
    limits: (3,) the caps.
    """

    person: I64
    requests: I64
    first: I64
    sent_ms: I64
    sent_first: I64
    free: NDArray[np.bool_]
    lengths_ms: I64
    limits: I64

    @classmethod
    def of(cls, requests: Requests, sent: Sent, rules: Constraints) -> People:
        """Group requests and history by recipient; what is older than every cap is left out."""
        codes, person = np.unique(requests.recipient, return_inverse=True)
        person = person.reshape(-1)
        oldest_ms = rules.not_before_ms - int(rules.cap_lengths_ms().max())
        place = np.searchsorted(codes, sent.recipient)
        known = np.zeros(len(sent), bool)
        inside = place < len(codes)
        known[inside] = codes[place[inside]] == sent.recipient[inside]
        known &= sent.sent_at_ms >= oldest_ms
        whose, times = place[known], sent.sent_at_ms[known]
        order = np.lexsort((times, whose))
        sizes = np.bincount(person, minlength=len(codes))
        sent_sizes = np.bincount(whose, minlength=len(codes))
        limits = rules.cap_limits()
        alone = (sizes == 1) & (sent_sizes == 0) & ~(limits == 0).any()
        return cls(
            person.astype(np.int64),
            np.argsort(person, kind="stable").astype(np.int64),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            times[order].astype(np.int64),
            np.concatenate([[0], np.cumsum(sent_sizes)]).astype(np.int64),
            np.asarray(alone[person] | (limits < 0).all()),
            rules.cap_lengths_ms(),
            limits,
        )


@njit(cache=True)
def _count_from(
    people: Any, times_ms: Any, p: int, skip: int, extra: int, low: int, high: int
) -> int:
    """Messages to person `p` in [low, high), with `extra` and without request `skip`."""
    count = 1 if low <= extra < high else 0
    for k in range(people.sent_first[p], people.sent_first[p + 1]):
        if low <= people.sent_ms[k] < high:
            count += 1
    for k in range(people.first[p], people.first[p + 1]):
        j = people.requests[k]
        if j != skip and low <= times_ms[j] < high:
            count += 1
    return count


@njit(cache=True)
def broken_caps(people: Any, times_ms: Any, i: int, time_ms: int) -> int:
    """Bits of the caps that request `i` would break at `time_ms`; places of CAPS.

    times_ms: (n,) of what is planned, negative where nothing is. A cap is broken if any period of
    its length that holds `time_ms` holds too many; periods that begin with a message suffice.
    """
    broken = 0
    p = people.person[i]
    for cap in range(len(people.limits)):
        length, limit = people.lengths_ms[cap], people.limits[cap]
        if limit < 0:
            continue
        most = _count_from(people, times_ms, p, i, time_ms, time_ms, time_ms + length)
        for k in range(people.sent_first[p], people.sent_first[p + 1]):
            begin = people.sent_ms[k]
            if time_ms - length < begin <= time_ms:
                most = max(
                    most, _count_from(people, times_ms, p, i, time_ms, begin, begin + length)
                )
        for k in range(people.first[p], people.first[p + 1]):
            begin = times_ms[people.requests[k]]
            if people.requests[k] != i and time_ms - length < begin <= time_ms:
                most = max(
                    most, _count_from(people, times_ms, p, i, time_ms, begin, begin + length)
                )
        if most > limit:
            broken |= 1 << cap
    return broken
