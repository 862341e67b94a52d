"""Redis layout, version 1: every key this package writes, in one place.

`{c}` is the client in braces, e.g. `{news-co}`: the braces are part of the key and make all keys of
one client share a cluster slot. Redis Cluster itself is *not* promised: a write of many clients
goes out as one script, which a cluster refuses. One primary (with replicas, Sentinel) is.

====================================  =======  ========  ==========================================
key                                   type     TTL       holds
====================================  =======  ========  ==========================================
`sendtide:1:{c}:recipient:<32 hex>`   string   30 days   one packed record, see below
`sendtide:1:{c}:model:<model>`        hash     7 days    fields of `summaries.ModelSummary`
`sendtide:1:{c}:state:<kind>`         string   7 days    a record of `ml.models`: weights, means
`sendtide:1:{c}:models`               set      7 days    names of the models above
`sendtide:1:{c}:lift`                 hash     7 days    `<metric>` -> JSON `summaries.ClientLift`
`sendtide:1:{c}:freshness:<source>`   hash     7 days    `<partition>` -> JSON `SourceFreshness`
`sendtide:1:{c}:sources`              set      7 days    names of the sources above
`sendtide:1:{c}:counts`               hash     30 days   `<topic>/<partition>:<count>` -> integer
`sendtide:1:clients`                  zset     30 days   client -> as_of_ms of its last write
`sendtide:1:totals`                   hash     30 days   `<topic>/<partition>:<count>` -> integer
`sendtide:1:workers`                  zset     1 day     worker -> time of its last beat, ms
`sendtide:1:worker:<worker>`          string   15 s      JSON `WorkerBeat`; gone when it died
`sendtide:1:fence:<group>:<part.>`    string   30 days   highest epoch that has written
`sendtide:1:claimant:<group>:<part.>` string   30 days   that epoch and who was given it
`sendtide:1:seal:<group>:<part.>`     string   30 days   number of its last write, see `seals`
`sendtide:1:live`                     channel  -         client names (JSON list), when they change
====================================  =======  ========  ==========================================

In a model hash numbers are decimal text, `hour_scores` is a JSON list, and a field that is absent
is not known yet. A TTL starts anew with every write.

Counts and totals are absolute values out of a partition's state, never increments: writing them
twice, or replaying after a crash, leaves the same numbers. Sum a count over its partitions to get
the whole. Names of counts: the buckets `applied`, `duplicate`, `late`, `dead_letter`, `erased`,
the kinds of engagement, and for totals also `in`, `predictions`, `windows`.

Every write names its *owner* (group, partition, epoch). The script that writes compares the epoch
with the fence first, so a worker that lost its partition can never overwrite its successor. It
leaves the number of the write as the partition's seal, so that a server that was emptied or rolled
back is noticed and everything written anew.

The recipient record, 304 bytes little-endian (`events.records.RECIPIENT_RECORD`):

======  =====  ==================  ================================================================
offset  type   field               meaning
======  =====  ==================  ================================================================
0       u8     layout              3; refuse what you do not know
1       u8     tier                whose history: 0 recipient, 1 segment, 2 client, 3 all, 4 none
2       u8     flags               1: of the control group, to be sent to at any hour; else 0
3       u8     best_hour           hour of the week with the highest score, 0 = Monday 00:00 local
4       u32    model_version       version of the model that scored
8       i64    event_time_ms       newest event of this recipient that is in the scores
16      i64    scored_at_ms        event time at which it was scored; with the above tells its age
24      i64    applied_offset      offset of the record that changed it
32      u32    epoch               of the partition owner that wrote it
36      u32    sends               messages sent to this recipient
40      u32    opens               of these, opened by a person
44      f32    effective_sends     evidence behind the scores, in sends
48      f32    open_probability    P(open) of a message sent at the best hour
52      f32    score_scale         see scores
56      u8x168 scores              P(open | sent in that hour) = score_scale * score / 255
224     f32x4  propensities        of a message: click, unsubscribe, complaint, bounce
240     u8x24  deviations          of logit P by hour of the day, in 1/64; 95%: +- 1.96 of it
264     u64    segment             hash of the segment's name, 0 for none
272     u64    period_sends        messages by ten-day period, 3 bits each, the newest lowest
280     u64    period_opens        of these, opened by a person
288     i32    period              the newest period of both: event_time_ms // 864,000,000
292     f32    clicks              messages clicked
296     f32    hours_since_send    as of event_time_ms, NaN if never
300     f32    hours_since_open    as of event_time_ms, NaN if never
======  =====  ==================  ================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import ConfigurationError

__all__ = [
    "CLIENTS",
    "LIVE_CHANNEL",
    "PREFIX",
    "TOTALS",
    "WORKERS",
    "Owner",
    "Retention",
    "claimant_key",
    "client_key",
    "fence_key",
    "recipient_hex",
    "recipient_key",
    "recipient_keys",
    "seal_key",
    "worker_key",
]

PREFIX: Final = "sendtide:1:"
CLIENTS: Final = f"{PREFIX}clients"
WORKERS: Final = f"{PREFIX}workers"
TOTALS: Final = f"{PREFIX}totals"
LIVE_CHANNEL: Final = f"{PREFIX}live"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RECIPIENT: Final = re.compile(r"[0-9a-f]{32}")
_DAY_S: Final = 86_400
_HEX: Final = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes: one partition of one consumer group, in its `epoch`-th ownership (from 1)."""

    group: str
    partition: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Times to live in seconds, counted from the last write."""

    recipient_s: int = 30 * _DAY_S
    summary_s: int = 7 * _DAY_S
    counts_s: int = 30 * _DAY_S
    worker_s: int = 15
    fence_s: int = 30 * _DAY_S

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                msg = f"retention {name} is {getattr(self, name)}; allowed: 1 second or more"
                raise ConfigurationError(msg)


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        msg = (
            f"{what} {name[:80]!r} cannot be part of a key; allowed: a letter or digit, then up "
            "to 63 letters, digits, dots, dashes, underscores"
        )
        raise ConfigurationError(msg)
    return name


def client_key(client: str, *parts: str) -> str:
    """Key of one client's `parts`, e.g. `client_key("c1", "model", "send_time")`.

    Raises:
        ConfigurationError: a name that could be mistaken for another key.
    """
    names = ":".join(_checked(part, "name") for part in parts)
    return f"{PREFIX}{{{_checked(client, 'client')}}}:{names}"


def recipient_key(client: str, recipient_id: str) -> str:
    """Key of one recipient's record.

    Raises:
        ConfigurationError: not 32 lower-case hex digits.
    """
    if not _RECIPIENT.fullmatch(recipient_id):
        msg = (
            f"recipient {recipient_id[:80]!r} is not 32 lower-case hex digits; it must be the "
            "keyed hash of the address (HMAC-SHA-256, first 128 bits), never the address"
        )
        raise ConfigurationError(msg)
    return client_key(client, "recipient") + ":" + recipient_id


def fence_key(owner: Owner) -> str:
    """Key that holds the highest epoch that has written for this partition."""
    return f"{PREFIX}fence:{_checked(owner.group, 'group')}:{owner.partition}"


def claimant_key(owner: Owner) -> str:
    """Key that holds the epoch of the fence and who was given it."""
    return f"{PREFIX}claimant:{_checked(owner.group, 'group')}:{owner.partition}"


def seal_key(owner: Owner) -> str:
    """Key that holds the number of the last write for this partition."""
    return f"{PREFIX}seal:{_checked(owner.group, 'group')}:{owner.partition}"


def worker_key(worker: str) -> str:
    """Key of one worker's last beat."""
    return f"{PREFIX}worker:{_checked(worker, 'worker')}"


def recipient_hex(recipients: NDArray[np.uint64]) -> list[bytes]:
    """32 hex digits of each (n, 2) recipient id, without a Python step per digit."""
    halves = np.ascontiguousarray(recipients).astype(">u8").view(np.uint8).reshape(-1, 16)
    digits: list[bytes] = _HEX[halves].reshape(-1, 32).view("S32").ravel().tolist()
    return digits


def recipient_keys(
    clients: Sequence[str], client_index: NDArray[np.integer], recipients: NDArray[np.uint64]
) -> list[bytes]:
    """Keys of n recipients; row i belongs to `clients[client_index[i]]`."""
    prefixes = [(client_key(client, "recipient") + ":").encode() for client in clients]
    heads = map(prefixes.__getitem__, client_index.tolist())
    return [head + tail for head, tail in zip(heads, recipient_hex(recipients), strict=True)]
