"""The read model out of Redis: what the endpoint, the dashboard and `sendtide metrics` see."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import CorruptData
from sendtide.events.records import RECIPIENT_RECORD, unpack_recipients
from sendtide.sinks.connection import connect, patiently, shown
from sendtide.sinks.contract import RecipientView
from sendtide.sinks.layout import CLIENTS, TOTALS, WORKERS, client_key, recipient_key, worker_key
from sendtide.sinks.summaries import (
    ClientActivity,
    ClientLift,
    ModelMetrics,
    SourceFreshness,
    WorkerBeat,
)
from sendtide.sinks.view import DEFAULT_STALE_AFTER_S, judged, recipient_view, summed

__all__ = ["RedisReader"]

DEFAULT_TIMEOUT_S: Final = 1.0
_MGET_KEYS: Final = 1_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class RedisReader:
    """The `Reader` on a real server. Thread-safe: connections come from a pool."""

    def __init__(
        self,
        url: str,
        *,
        stale_after_s: float = DEFAULT_STALE_AFTER_S,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        patience_s: float = 0.0,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        """Connects on first use. patience_s: readers answer "unavailable" rather than wait."""
        self._where = shown(url)
        self._redis = connect(url, timeout_s)
        self._stale_after_s = stale_after_s
        self._patience_s = patience_s
        self._now_ms = now_ms

    def clients(self, limit: int = 100) -> list[ClientActivity]:
        """The clients written last, newest first."""
        rows = self._ask(("ZREVRANGE", CLIENTS, 0, limit - 1, "WITHSCORES"))[0]
        pairs = _pairs(rows)
        return [ClientActivity(client_id=c.decode(), as_of_ms=int(float(at))) for c, at in pairs]

    def metrics(self, client: str | None = None, limit: int = 100) -> list[ModelMetrics]:
        """Newest numbers per client and model, in two round trips for any number of clients."""
        names = [client] if client is not None else [row.client_id for row in self.clients(limit)]
        models = self._ask(*(("SMEMBERS", client_key(name, "models")) for name in names))
        keys = [
            client_key(name, "model", model.decode())
            for name, found in zip(names, models, strict=True)
            for model in sorted(found)
        ]
        answers = self._ask(*(("HGETALL", key) for key in keys))
        now_ms = self._now_ms()
        hashes = [{k.decode(): v.decode() for k, v in _mapping(a).items()} for a in answers]
        return [judged(fields, now_ms, self._stale_after_s) for fields in hashes if fields]

    def lifts(self, client: str | None = None, limit: int = 100) -> list[ClientLift]:
        """Clients beside their control groups, by metric."""
        names = [client] if client is not None else [row.client_id for row in self.clients(limit)]
        answers = self._ask(*(("HGETALL", client_key(name, "lift")) for name in names))
        return [
            msgspec.json.decode(value, type=ClientLift)
            for answer in answers
            for _, value in sorted(_mapping(answer).items())
        ]

    def state(self, client: str, kind: str) -> bytes | None:
        """A client's newest state of a kind of model as on `ml.models`, None if there is none."""
        found: bytes | None = self._ask(("GET", client_key(client, "state", kind)))[0]
        return found

    def freshness(self, client: str) -> list[SourceFreshness]:
        """One row per source and partition."""
        sources = sorted(self._ask(("SMEMBERS", client_key(client, "sources")))[0])
        keys = [client_key(client, "freshness", source.decode()) for source in sources]
        rows = [
            msgspec.json.decode(value, type=SourceFreshness)
            for answer in self._ask(*(("HGETALL", key) for key in keys))
            for value in _mapping(answer).values()
        ]
        return sorted(rows, key=lambda row: (row.source, row.partition))

    def counts(self, client: str) -> dict[str, dict[str, int]]:
        """Topic to count to number, summed over partitions."""
        return self._sums(client_key(client, "counts"))

    def totals(self) -> dict[str, dict[str, int]]:
        """As `counts`, over all clients."""
        return self._sums(TOTALS)

    def workers(self) -> list[WorkerBeat]:
        """Workers alive, by name."""
        names = self._ask(("ZRANGE", WORKERS, 0, -1))[0]
        if not names:
            return []
        beats = self._ask(("MGET", *(worker_key(name.decode()) for name in sorted(names))))[0]
        return [msgspec.json.decode(beat, type=WorkerBeat) for beat in beats if beat]

    def records(self, clients: Sequence[str], recipients: Sequence[str]) -> NDArray[np.void]:
        """Records in the order asked, ceil(n / 1000) MGETs in one round trip.

        Raises:
            CorruptData: a record of another layout.
        """
        keys = [recipient_key(c, r) for c, r in zip(clients, recipients, strict=True)]
        steps = range(0, len(keys), _MGET_KEYS)
        answers = self._ask(*(("MGET", *keys[i : i + _MGET_KEYS]) for i in steps))
        values: list[bytes | None] = [value for answer in answers for value in answer]
        return _gathered(values)

    def recipient(self, client: str, recipient_id: str) -> RecipientView | None:
        """One recipient's record, None if nothing is known of it."""
        record = self.records([client], [recipient_id])[0]
        if not record["layout"]:
            return None
        return recipient_view(client, recipient_id, record, self._now_ms(), self._stale_after_s)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _sums(self, key: str) -> dict[str, dict[str, int]]:
        fields = _mapping(self._ask(("HGETALL", key))[0])
        return summed(sorted((field.decode(), int(number)) for field, number in fields.items()))

    def _ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Several commands in one round trip."""

        def send() -> list[Any]:
            if len(commands) == 1:  # a pipeline of one costs half as much again
                return [self._redis.execute_command(*commands[0])]
            pipe = self._redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = pipe.execute()
            return answers

        return patiently(send, self._where, self._patience_s) if commands else []


def _gathered(values: list[bytes | None]) -> NDArray[np.void]:
    """One array of what was found, zeros where nothing was."""
    size = RECIPIENT_RECORD.itemsize
    odd = {len(value) for value in values if value is not None} - {size}
    if odd:
        msg = f"recipient records of {sorted(odd)} bytes; this build reads {size}"
        raise CorruptData(msg)
    found = unpack_recipients(b"".join(value for value in values if value is not None))
    records = np.zeros(len(values), RECIPIENT_RECORD)
    records[[i for i, value in enumerate(values) if value is not None]] = found
    return records


def _mapping(answer: Any) -> dict[bytes, bytes]:
    return dict(answer)


def _pairs(rows: Any) -> list[tuple[bytes, Any]]:
    return list(zip(rows[::2], rows[1::2], strict=True))
