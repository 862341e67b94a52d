"""The read model in this process: the twin of Redis for tests and for trying things out.

Same contract as `RedisSink` and `RedisReader`, same law suite (`tests/sinks/test_contract.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import Fenced
from sendtide.events.records import RECIPIENT_RECORD, unpack_recipients
from sendtide.sinks.contract import RecipientRows, RecipientView, StateRow
from sendtide.sinks.layout import (
    Owner,
    Retention,
    client_key,
    fence_key,
    recipient_key,
    recipient_keys,
    seal_key,
)
from sendtide.sinks.seals import Seals
from sendtide.sinks.summaries import (
    ClientActivity,
    ClientLift,
    ModelMetrics,
    ModelSummary,
    PartitionCounts,
    SourceFreshness,
    WorkerBeat,
)
from sendtide.sinks.view import DEFAULT_STALE_AFTER_S, judged, recipient_view, summed

__all__ = ["MemoryStore"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryStore:
    """`Sink` and `Reader` over one dictionary."""

    def __init__(
        self,
        retention: Retention | None = None,
        *,
        stale_after_s: float = DEFAULT_STALE_AFTER_S,
        now_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self._retention = retention or Retention()
        self._stale_after_s = stale_after_s
        self._now_ms = now_ms
        self._epochs: dict[str, int] = {}
        self._sealed: dict[str, int] = {}
        self._seals = Seals()
        self._records: dict[bytes, tuple[int, bytes]] = {}
        self._models: dict[tuple[str, str], tuple[int, ModelSummary]] = {}
        self._lifts: dict[tuple[str, str], tuple[int, ClientLift]] = {}
        self._states: dict[str, tuple[int, bytes]] = {}
        self._freshness: dict[tuple[str, str, int], tuple[int, SourceFreshness]] = {}
        self._counts: dict[str | None, dict[str, tuple[int, int]]] = {}
        self._activity: dict[str, int] = {}
        self._beats: dict[str, tuple[int, WorkerBeat]] = {}

    def claim(self, owner: Owner, since: int = 0, *, late: bool = False) -> int:
        """Raise the fence."""
        held = self._epochs.get(fence_key(owner), 0)
        if late and held >= owner.epoch:
            msg = f"FENCED epoch {owner.epoch} of {fence_key(owner)} comes too late: {held} has it"
            raise Fenced(msg)
        epoch = self._epochs[fence_key(owner)] = max(owner.epoch, held + 1)
        self._seals.begin(replace(owner, epoch=epoch), self._sealed.get(seal_key(owner), 0), since)
        return epoch

    def left_ms(self, owner: Owner) -> int | None:
        """By the seal that was found at the claim."""
        return self._seals.left_ms(owner)

    def forgot(self, owners: Sequence[Owner]) -> list[Owner]:
        """A test may have put an older dictionary back."""
        for owner in owners:
            held = self._epochs.get(fence_key(owner), 0)
            self._seals.look(owner, held, self._sealed.get(seal_key(owner), 0))
        return self._seals.take_lost(owners)

    def repaired(self, owner: Owner) -> None:
        """Seal the partition again."""
        if self._seals.mended(owner):
            self._pass_fence(owner)

    def mark(self, owner: Owner) -> int:
        """Number of the last write."""
        return self._seals.mark(owner)

    def write_recipients(
        self, owner: Owner, rows: RecipientRows, records: NDArray[np.void]
    ) -> None:
        """Write n packed records."""
        self._pass_fence(owner)
        until = self._until(self._retention.recipient_s)
        keys = recipient_keys(rows.clients, rows.client_index, rows.recipients)
        for key, record in zip(keys, records, strict=True):
            self._records[key] = (until, record.tobytes())

    def erase_recipients(self, owner: Owner, rows: RecipientRows) -> None:
        """Remove records; absent ones are no mistake."""
        self._pass_fence(owner)
        for key in recipient_keys(rows.clients, rows.client_index, rows.recipients):
            self._records.pop(key, None)

    def write_models(self, owner: Owner, summaries: Sequence[ModelSummary]) -> None:
        """Replace the newest numbers of these models."""
        self._pass_fence(owner)
        until = self._until(self._retention.summary_s)
        for row in summaries:
            client_key(row.client_id, "model", row.model)
            self._models[row.client_id, row.model] = (until, row)
            self._note(row.client_id, row.as_of_ms)

    def write_lifts(self, owner: Owner, rows: Sequence[ClientLift]) -> None:
        """Replace what is known of these control groups."""
        self._pass_fence(owner)
        until = self._until(self._retention.summary_s)
        for row in rows:
            client_key(row.client_id, "lift")
            self._lifts[row.client_id, row.metric] = (until, row)

    def write_states(self, owner: Owner, states: Sequence[StateRow]) -> None:
        """Replace the newest states of these models."""
        self._pass_fence(owner)
        until = self._until(self._retention.summary_s)
        for row in states:
            self._states[client_key(row.client_id, "state", row.kind)] = (until, row.value)

    def write_freshness(self, owner: Owner, rows: Sequence[SourceFreshness]) -> None:
        """Replace the freshness of these sources as this partition sees it."""
        self._pass_fence(owner)
        until = self._until(self._retention.summary_s)
        for row in rows:
            client_key(row.client_id, "freshness", row.source)
            self._freshness[row.client_id, row.source, row.partition] = (until, row)
            self._note(row.client_id, row.as_of_ms)

    def write_counts(self, owner: Owner, rows: Sequence[PartitionCounts]) -> None:
        """Replace absolute counts."""
        self._pass_fence(owner)
        until = self._until(self._retention.counts_s)
        for row in rows:
            if row.client_id is not None:
                client_key(row.client_id, "counts")
            fields = self._counts.setdefault(row.client_id, {})
            for name, number in row.counts.items():
                fields[f"{row.topic}/{row.partition}:{name}"] = (until, number)

    def beat(self, beat: WorkerBeat) -> None:
        """Say that a worker lives."""
        self._beats[beat.worker] = (self._until(self._retention.worker_s), beat)

    def clients(self, limit: int = 100) -> list[ClientActivity]:
        """The clients written last, newest first."""
        newest = sorted(self._activity.items(), key=lambda pair: (pair[1], pair[0]), reverse=True)
        return [ClientActivity(client_id=c, as_of_ms=at) for c, at in newest[:limit]]

    def metrics(self, client: str | None = None, limit: int = 100) -> list[ModelMetrics]:
        """Newest numbers per client and model."""
        names = [client] if client is not None else [row.client_id for row in self.clients(limit)]
        for name in names:
            client_key(name, "models")  # the same names are refused as on a server
        now_ms = self._now_ms()
        return [
            judged(msgspec.to_builtins(row), now_ms, self._stale_after_s)
            for name in names
            for (owner, _), (until, row) in sorted(self._models.items(), key=lambda pair: pair[0])
            if owner == name and until > now_ms
        ]

    def lifts(self, client: str | None = None, limit: int = 100) -> list[ClientLift]:
        """Clients beside their control groups, by metric."""
        names = [client] if client is not None else [row.client_id for row in self.clients(limit)]
        keys = {name: client_key(name, "lift") for name in names}
        now_ms, found = self._now_ms(), sorted(self._lifts.items(), key=lambda pair: pair[0])
        return [
            row
            for name in keys
            for (owner, _), (until, row) in found
            if owner == name and until > now_ms
        ]

    def state(self, client: str, kind: str) -> bytes | None:
        """A client's newest state of a kind of model as on `ml.models`, None if there is none."""
        until, value = self._states.get(client_key(client, "state", kind), (0, b""))
        return value if until > self._now_ms() else None

    def freshness(self, client: str) -> list[SourceFreshness]:
        """One row per source and partition."""
        client_key(client, "sources")
        now_ms = self._now_ms()
        found = sorted(self._freshness.items(), key=lambda pair: pair[0])
        return [row for (c, _, _), (until, row) in found if c == client and until > now_ms]

    def counts(self, client: str) -> dict[str, dict[str, int]]:
        """Topic to count to number, summed over partitions."""
        client_key(client, "counts")
        return self._sums(client)

    def totals(self) -> dict[str, dict[str, int]]:
        """As `counts`, over all clients."""
        return self._sums(None)

    def workers(self) -> list[WorkerBeat]:
        """Workers alive, by name."""
        now_ms = self._now_ms()
        return [beat for _, (until, beat) in sorted(self._beats.items()) if until > now_ms]

    def records(self, clients: Sequence[str], recipients: Sequence[str]) -> NDArray[np.void]:
        """Records in the order asked, `layout` 0 where there is none."""
        now_ms = self._now_ms()
        answer = np.zeros(len(recipients), RECIPIENT_RECORD)
        for i, (client, recipient) in enumerate(zip(clients, recipients, strict=True)):
            until, data = self._records.get(recipient_key(client, recipient).encode(), (0, b""))
            if until > now_ms:
                answer[i] = unpack_recipients(data)[0]
        return answer

    def recipient(self, client: str, recipient_id: str) -> RecipientView | None:
        """One recipient's record, None if nothing is known of it."""
        record = self.records([client], [recipient_id])[0]
        if not record["layout"]:
            return None
        return recipient_view(client, recipient_id, record, self._now_ms(), self._stale_after_s)

    def close(self) -> None:
        """Nothing to let go of."""

    def _until(self, ttl_s: int) -> int:
        return self._now_ms() + ttl_s * 1000

    def _note(self, client: str, as_of_ms: int) -> None:
        self._activity[client] = max(as_of_ms, self._activity.get(client, as_of_ms))

    def _sums(self, client: str | None) -> dict[str, dict[str, int]]:
        now_ms = self._now_ms()
        fields = self._counts.get(client, {})
        return summed(sorted((k, n) for k, (until, n) in fields.items() if until > now_ms))

    def _pass_fence(self, owner: Owner) -> None:
        held = self._epochs.get(fence_key(owner), owner.epoch)
        if held > owner.epoch:
            msg = (
                f"FENCED epoch {owner.epoch} of {fence_key(owner)} is over: epoch {held} has "
                "taken over; this worker must stop writing"
            )
            raise Fenced(msg)
        found, number = self._seal_found(owner), self._seals.next_number(owner)
        whole = found >= self._seals.expected(owner)
        self._epochs[fence_key(owner)] = owner.epoch
        self._sealed[seal_key(owner)] = number if whole else 0
        self._seals.note(owner, found, number)

    def _seal_found(self, owner: Owner) -> int:
        held = self._epochs.get(fence_key(owner))
        return self._sealed.get(seal_key(owner), 0) if held == owner.epoch else -1
