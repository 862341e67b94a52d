"""Mixes trouble into a stream and counts what it planted: duplicates, late records, poison.

The counts are exact, whatever the number of partitions, on two conditions: the records spoiled are
all good and on time themselves, and the reader's allowances are those given here.

- duplicate: a record of this topic again, byte for byte, right after some later record
- late: a new event of the recipient before it, older by lateness and an hour; that recipient's
  record has already moved the watermark of the very partition the late one goes to
- poison: a damaged copy with a new identity, one of the ways in POISONS in turn
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import orjson

from sendtide.events.messages import MAX_RECORD_BYTES
from sendtide.events.topics import REQUESTS
from sendtide.events.wire import Records

__all__ = ["POISONS", "Spoiler"]

_HOUR_MS: Final = 3_600_000
_YEAR_MS: Final = 365 * 24 * _HOUR_MS
Body = dict[str, Any]


def _changed(**fields: Any) -> Callable[[Body], bytes]:
    return lambda body: orjson.dumps({**body, **fields})


POISONS: Final[dict[str, tuple[Callable[[Body], bytes], ...]]] = {
    "bad_json": (
        lambda body: orjson.dumps(body)[:-9],
        lambda body: orjson.dumps(body)[:-1] + b',"words":NaN}',
    ),
    "bad_encoding": (lambda body: orjson.dumps(body)[:-1] + b',"note":"\xff\xfe"}',),
    "wrong_type": (
        lambda body: orjson.dumps({**body, "event_time_ms": str(body["event_time_ms"])}),
        lambda body: b"[" + orjson.dumps(body) + b"]",
    ),
    "missing_field": (
        lambda body: orjson.dumps({k: v for k, v in body.items() if k != "client_id"}),
    ),
    "out_of_range": (
        _changed(event_time_ms=-1),
        _changed(event_time_ms=1_700_000_000),  # seconds where milliseconds are wanted
        _changed(id="x" * 129),
    ),
    "future_time": (
        lambda body: orjson.dumps({**body, "event_time_ms": body["event_time_ms"] + _YEAR_MS}),
    ),
    "oversize": (_changed(note="x" * MAX_RECORD_BYTES),),
    "wrong_key": (lambda body: orjson.dumps({**body, "recipient_id": body["recipient_id"][::-1]}),),
    "unknown_version": (_changed(version="2.0"),),
    "raw_address": (_changed(recipient_id="someone@example.com"),),
}
"""Dead-letter reason to the ways of earning it: each turns a good event's object into bytes."""
_WAYS: Final = [(reason, way) for reason, ways in POISONS.items() for way in ways]


class Spoiler:
    """Adds trouble after records drawn at random; `planted[topic][bucket or reason]` counts it.

    duplicate, late, poison: probability per record. lateness_ms: the largest allowed lateness of
    the topics. Requests get no late ones: they are answered, not counted into history.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        duplicate: float = 0.01,
        late: float = 0.001,
        poison: float = 0.001,
        lateness_ms: int = 24 * _HOUR_MS,
    ) -> None:
        self.planted: dict[str, Counter[str]] = {}
        self._rng = np.random.default_rng([seed, 4])
        self._seed = seed
        self._shares = (duplicate, late, poison)
        self._lateness_ms = lateness_ms
        self._made = 0

    def spoil(self, records: Records) -> Records:
        """Return all of `records`, in their order, with the trouble in between."""
        n, (duplicate, late, poison) = len(records), self._shares
        chance = self._rng.random(n)
        after = np.flatnonzero(chance < duplicate + late + poison).tolist()
        gap = self._rng.integers(0, 50, n)
        extra: list[tuple[int, int, bytes, bytes]] = []
        for row in after:
            topic = int(records.topic[row])
            if chance[row] < duplicate:
                bucket, value = "duplicate", records.values[row]
            elif chance[row] < duplicate + late:
                bucket, value = "late", self._late(records, row)
            else:
                bucket, value = self._poison(records, row)
            if value is None:
                continue
            self.planted.setdefault(records.topics[topic], Counter())[bucket] += 1
            later = min(row + int(gap[row]), n - 1) if bucket == "duplicate" else row
            extra.append((later, topic, records.keys[row], value))
        return _inserted(records, extra)

    def _name(self) -> str:
        self._made += 1
        return f"spoilt-{self._seed}-{self._made}"

    def _body(self, records: Records, row: int) -> Body | None:
        value = records.values[row]
        return None if value is None else {**orjson.loads(value), "id": self._name()}

    def _late(self, records: Records, row: int) -> bytes | None:
        body = self._body(records, row)
        if body is None or records.topics[int(records.topic[row])] == REQUESTS.name:
            return None
        return orjson.dumps(
            {**body, "event_time_ms": body["event_time_ms"] - self._lateness_ms - _HOUR_MS}
        )

    def _poison(self, records: Records, row: int) -> tuple[str, bytes | None]:
        body = self._body(records, row)
        reason, way = _WAYS[self._made % len(_WAYS)]
        return reason, None if body is None else way(body)


def _inserted(records: Records, extra: list[tuple[int, int, bytes, bytes]]) -> Records:
    """Put each of `extra` (row, topic, key, value) right after its row, at the row's timestamp."""
    after = np.array([row for row, *_ in extra], np.int64)
    order = np.argsort(np.concatenate([np.arange(len(records)), after]), kind="stable")
    topic = np.concatenate([records.topic, np.array([e[1] for e in extra], np.uint8)])
    stamps = np.concatenate([records.timestamps_ms, records.timestamps_ms[after]])
    keys = records.keys + [e[2] for e in extra]
    values = [*records.values, *(e[3] for e in extra)]
    rows = order.tolist()
    return Records(
        topics=records.topics,
        topic=topic[order],
        keys=[keys[i] for i in rows],
        values=[values[i] for i in rows],
        timestamps_ms=stamps[order],
    )
