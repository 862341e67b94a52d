"""An independent recount of produced records: plain Python, one thread, no code of the package.

It says what an exact system must have counted. The rules, as documented:

- a record that breaks a rule of its message is a dead letter
- a null value on `email.sends` under a good key asks to forget the recipient; it is applied, and
  that recipient's later records are `erased`
- the same (source, id) again on the same topic is a duplicate of the one that was taken
- late, only if `lateness_ms` and `partition` are given: event time below the largest taken so far
  in its topic partition less the allowance; it is not taken, so that its repeat is late too
- everything else is applied

Records are taken in the order in which they were produced. Between topics that order means nothing
to the system, so a stream with erasures has one right answer only if it is erased at its end.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import available_timezones

SENDS, ENGAGEMENTS, REQUESTS = "email.sends", "email.engagements", "email.requests"
KINDS = {"delivered", "open", "click", "bounce", "unsubscribe", "complaint", "conversion"}
DAY_MS = 86_400_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RECIPIENT = re.compile(r"[0-9a-f]{32}")
PROVIDER = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
VERSION = re.compile(r"1\.[0-9]{1,4}")
TEXT = re.compile(r"[^\x00-\x1f\x7f]+")
ZONE = available_timezones()
CONTENT = {
    "subject_length": 1_000,
    "words": 65_535,
    "links": 10_000,
    "clickable_images": 10_000,
    "unclickable_images": 10_000,
}
MACHINES = {"Mozilla/5.0", "Barracuda Sentinel (EE)", "python-requests/2.32.4"}
"""User agents of machines among those that the load names; a list of all would be no recount."""

__all__ = ["Record", "Recount", "recount"]

Record = tuple[str, bytes | None, bytes | None, int]
Who = tuple[str, str]


def is_name(value: object) -> bool:
    """A client, a source, a segment."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def is_identifier(value: object) -> bool:
    """An event or a message."""
    return isinstance(value, str) and len(value) <= 128 and TEXT.fullmatch(value) is not None


def is_time(value: Any) -> bool:
    """Milliseconds between the years 2000 and 2100."""
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and 946_684_800_000 <= value <= 4_102_444_800_000
    )


def is_provider(value: Any) -> bool:
    """A domain in lower case."""
    return isinstance(value, str) and PROVIDER.fullmatch(value) is not None


def optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Null or what `check` takes."""
    return lambda value: value is None or check(value)


def at_most(limit: int) -> Callable[[Any], bool]:
    """A whole number up to `limit`."""
    return lambda v: type(v) is int and 0 <= v <= limit


Checks = dict[str, Callable[[Any], bool]]
COMMON: Checks = {
    "source": is_name,
    "id": is_identifier,
    "client_id": is_name,
    "recipient_id": lambda v: isinstance(v, str) and RECIPIENT.fullmatch(v) is not None,
    "event_time_ms": is_time,
}
NEEDED: dict[str, Checks] = {
    SENDS: COMMON,
    ENGAGEMENTS: {
        **COMMON,
        "message_id": is_identifier,
        "kind": lambda v: isinstance(v, str) and v in KINDS,
    },
    REQUESTS: {**COMMON, "window_start_ms": is_time, "window_end_ms": is_time},
}
PLACE: Checks = {
    "segment": optional(is_name),
    "timezone": optional(lambda value: isinstance(value, str) and value in ZONE),
}
ALLOWED: dict[str, Checks] = {
    SENDS: {
        **PLACE,
        "campaign_id": optional(is_name),
        "mailbox_provider": optional(is_provider),
        **{name: optional(at_most(limit)) for name, limit in CONTENT.items()},
    },
    ENGAGEMENTS: {
        "machine": optional(lambda v: type(v) is bool),
        "revenue": optional(lambda v: type(v) in {int, float} and bool(0 <= v <= 10_000_000)),
        "user_agent": optional(lambda v: isinstance(v, str) and len(v) <= 2_048),
    },
    REQUESTS: PLACE,
}


def refuse_constant(text: str) -> None:
    """NaN and Infinity are no JSON."""
    raise ValueError(text)


def good_body(topic: str, value: bytes) -> dict[str, Any] | None:
    """The event's object, or None if the value breaks a rule."""
    if len(value) > 65_536:
        return None
    try:
        body = json.loads(value.decode(), parse_constant=refuse_constant)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    version = body.get("version", "1.0")
    if not (isinstance(version, str) and VERSION.fullmatch(version)):
        return None
    if not all(name in body and check(body[name]) for name, check in NEEDED[topic].items()):
        return None
    if not all(check(body[name]) for name, check in ALLOWED[topic].items() if name in body):
        return None
    if topic == REQUESTS and not 0 < body["window_end_ms"] - body["window_start_ms"] <= 14 * DAY_MS:
        return None
    return body


def is_marked(body: dict[str, Any]) -> bool:
    """Whether an event says that a machine made it."""
    return body.get("machine") is True or body.get("user_agent") in MACHINES


@dataclass
class Recount:
    """What was found. buckets: per topic. recipients, clients: applied events per kind.

    opened, clicked: identities (source, id) of sends a person opened or clicked within the
    horizon; machines: who opens at once whatever comes; sent: identity to (client, recipient)
    and time of every applied send.
    """

    buckets: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    recipients: dict[Who, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    clients: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    sent: dict[tuple[str, str], tuple[Who, int]] = field(default_factory=dict)
    opened: set[tuple[str, str]] = field(default_factory=set)
    clicked: set[tuple[str, str]] = field(default_factory=set)
    bounced: set[tuple[str, str]] = field(default_factory=set)
    machines: set[Who] = field(default_factory=set)

    def total(self) -> Counter[str]:
        """Buckets over all topics; with `in`, the number of records."""
        total: Counter[str] = sum(self.buckets.values(), Counter())
        total["in"] = total.total()
        return total

    def opens_of(self) -> Counter[Who]:
        """Sends opened by a person within the horizon, per (client, recipient).

        None of those whose recipient always opens at once, as machines do.
        """
        owners = (self.sent[identity][0] for identity in self.opened)
        return Counter(who for who in owners if who not in self.machines)


class _Counting:
    """One pass over the records."""

    def __init__(
        self,
        skew_ms: int,
        lateness_ms: dict[str, int] | None,
        partition: Callable[[bytes], int] | None,
    ) -> None:
        self.result = Recount()
        self.skew_ms, self.lateness_ms, self.partition = skew_ms, lateness_ms or {}, partition
        self.seen: set[tuple[str, str, str]] = set()
        self.forgotten: set[Who] = set()
        self.newest: dict[tuple[str, int], int] = {}
        self.engaged: list[tuple[Who, dict[str, Any]]] = []
        self.told: dict[tuple[str, str], dict[str, list[int]]] = {}

    def bucket(self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int) -> str:
        if value is None:
            return self.forget(topic, key)
        body = good_body(topic, value)
        if body is None:
            return "dead_letter"
        who = (body["client_id"], body["recipient_id"])
        if key is None or key != f"{who[0]}:{who[1]}".encode():
            return "dead_letter"
        if body["event_time_ms"] > timestamp_ms + self.skew_ms:
            return "dead_letter"
        if who in self.forgotten:
            return "erased"
        identity = (topic, body["source"], body["id"])
        if identity in self.seen:
            return "duplicate"
        if self.is_late(topic, key, body["event_time_ms"]):
            return "late"
        self.seen.add(identity)
        self.apply(topic, who, body)
        return "applied"

    def forget(self, topic: str, key: bytes | None) -> str:
        client, _, recipient = (key or b"").decode(errors="replace").partition(":")
        if topic != SENDS or not NAME.fullmatch(client) or not RECIPIENT.fullmatch(recipient):
            return "dead_letter"
        self.forgotten.add((client, recipient))
        return "applied"

    def is_late(self, topic: str, key: bytes, time_ms: int) -> bool:
        if topic not in self.lateness_ms or self.partition is None:
            return False
        where = (topic, self.partition(key))
        newest = self.newest.get(where, time_ms)
        if time_ms < newest - self.lateness_ms[topic]:
            return True
        self.newest[where] = max(newest, time_ms)
        return False

    def apply(self, topic: str, who: Who, body: dict[str, Any]) -> None:
        kind = {SENDS: "send", REQUESTS: "request"}.get(topic) or body["kind"]
        self.result.recipients[who][kind] += 1
        self.result.clients[who[0]][kind] += 1
        if topic == SENDS:
            self.result.sent[body["source"], body["id"]] = (who, body["event_time_ms"])
        elif topic == ENGAGEMENTS:
            self.engaged.append((who, body))

    def join(self, horizon_ms: int) -> None:
        for who, body in self.engaged:
            identity = (body["source"], body["message_id"])
            owner, sent_ms = self.result.sent.get(identity, (("", ""), 0))
            if owner != who or not 0 <= body["event_time_ms"] - sent_ms <= horizon_ms:
                continue
            if body["kind"] == "bounce":
                self.result.bounced.add(identity)
            elif body["kind"] == "delivered" or not is_marked(body):
                told = self.told.setdefault(identity, defaultdict(list))
                told[body["kind"]].append(body["event_time_ms"] - sent_ms)

    def tell_machines(self, within_ms: int) -> None:
        """What persons opened and clicked: neither at once nor in a burst of clicks."""
        prompt: Counter[Who] = Counter()
        for identity, told in self.told.items():
            delivered, clicks = min(told["delivered"], default=0), sorted(told["click"])
            burst = range(0)
            if len(clicks) > 2 and clicks[2] - clicks[0] < within_ms // 10:
                burst = range(clicks[0] - within_ms // 10, clicks[0] + within_ms)
            first: dict[str, int] = {}
            for kind in ("open", "click"):
                times = sorted(told[kind])
                for time_ms in times[:3] + times[-1:]:
                    haste = within_ms > 0 and time_ms < delivered + within_ms
                    if not haste and time_ms not in burst:
                        first.setdefault(kind, time_ms)
            if "open" in first:
                self.result.opened.add(identity)
                prompt[self.result.sent[identity][0]] += first["open"] < delivered + 6 * within_ms
            if "click" in first:
                self.result.clicked.add(identity)
        sends = Counter(
            who
            for message, (who, _) in self.result.sent.items()
            if message not in self.result.bounced
        )
        opens = self.result.opens_of()
        self.result.machines = {
            who
            for who, n in prompt.items()
            if within_ms and n >= max(8, 0.9 * opens[who], 0.5 * sends[who])
        }


def recount(
    records: Iterable[Record],
    *,
    skew_ms: int = 300_000,
    horizon_ms: int = 7 * DAY_MS,
    machine_within_ms: int = 10_000,
    lateness_ms: dict[str, int] | None = None,
    partition: Callable[[bytes], int] | None = None,
) -> Recount:
    """Recount produced (topic, key, value, timestamp_ms).

    skew_ms: how far a time may lie ahead of the record's timestamp. lateness_ms: per topic.
    machine_within_ms: how soon after the delivery nobody opens; a minute for ten seconds of it.
    """
    counting = _Counting(skew_ms, lateness_ms, partition)
    for topic, key, value, timestamp_ms in records:
        bucket = counting.bucket(topic, key, value, timestamp_ms)
        counting.result.buckets[topic][bucket] += 1
    counting.join(horizon_ms)
    counting.tell_machines(machine_within_ms)
    return counting.result
