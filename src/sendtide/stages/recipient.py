"""Stage A: sends, engagements and requests of recipients -> examples, predictions, records."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import EngagementBatch, Names, RequestBatch, SendBatch
from sendtide.events.messages import DeadLetterHeaders
from sendtide.events.predictions import Predictions
from sendtide.events.topics import (
    DEAD_LETTERS,
    ENGAGEMENTS,
    EXAMPLES,
    METRICS,
    PREDICTIONS,
    REQUESTS,
    SENDS,
)
from sendtide.gate import EngagementGate, Gate, Refused, RequestGate, SendGate
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.recipients import (
    JoinSettings,
    Outcome,
    PolicySettings,
    RecipientPartition,
    answers,
    records,
    restore,
    snapshot,
)
from sendtide.recipients.counters import FreshnessRow
from sendtide.sinks import PartitionCounts, RecipientRows, SourceFreshness
from sendtide.sinks.predictions import prediction_records
from sendtide.sinks.topics import dead_letter_record, metric_record
from sendtide.stages.example_rows import ExampleRows
from sendtide.stages.freshness import freshness_metrics
from sendtide.stages.held import Columns, Held
from sendtide.stages.piece import Piece
from sendtide.stages.stage import Stage
from sendtide.transport import BinaryColumn, KeyedRecords, Output, Outputs, Record

__all__ = ["RecipientStage", "join_settings", "policy_settings"]

Batch = TypeVar("Batch", SendBatch, EngagementBatch, RequestBatch)
_LIVE_MS = 60_000
"""Older events are history being replayed; their age says nothing about this worker's speed."""
_REST = 2
"""Clients' counts rest so many times as long as the last write of them took, a second at most
unless `publish.metrics` says otherwise."""
_SLOTS_PER_WRITE = 20_000
"""Recipients scored and written in one go; bounds a write at about 5 MB."""


def join_settings(pipeline: Pipeline) -> JoinSettings:
    """Settings of a partition of recipients out of the pipeline file."""
    return JoinSettings(
        horizon_ms=pipeline.join.horizon_ms,
        sends_lateness_ms=pipeline.sends.allowed_lateness_ms,
        engagements_lateness_ms=pipeline.engagements.allowed_lateness_ms,
        requests_lateness_ms=pipeline.requests.allowed_lateness_ms,
        dedupe_window=pipeline.join.dedupe_window,
        machine_within_ms=pipeline.join.machine_within_ms,
    )


def policy_settings(pipeline: Pipeline) -> PolicySettings:
    """How slots are chosen, out of the pipeline file."""
    hours = pipeline.send_time()
    return PolicySettings(
        explore_share=hours.explore_share,
        control_share=hours.control_share,
        control_salt=hours.control_salt,
    )


class RecipientStage(Stage[RecipientPartition]):
    """One worker's partitions of the three input topics."""

    def __init__(self, pipeline: Pipeline, directory: ModelDirectory, **wiring: Any) -> None:
        name = pipeline.topics.full_name
        super().__init__("recipients", [name(SENDS), name(ENGAGEMENTS), name(REQUESTS)], **wiring)
        self._pipeline = pipeline
        self._directory = directory
        self._name = name
        self._ages_s: list[NDArray[np.float64]] = []
        self._window_of: dict[int, int] = {}
        self._counting, self._counting_s, self._count_at = True, 0.0, 0.0
        self._clients, self._sources = Names(), Names()
        self._segments, self._zones = Names(), Names()
        self._gates = self._make_gates()
        self._settings, self._policy = join_settings(pipeline), policy_settings(pipeline)

    def _make_gates(self) -> tuple[SendGate, EngagementGate, RequestGate]:
        names: dict[str, Any] = {
            "clients": self._clients,
            "sources": self._sources,
            "segments": self._segments,
            "zones": self._zones,
        }
        pipeline = self._pipeline
        return (
            SendGate(max_future_ms=pipeline.sends.max_future_ms, **names),
            EngagementGate(max_future_ms=pipeline.engagements.max_future_ms, **names),
            RequestGate(max_future_ms=pipeline.requests.max_future_ms, **names),
        )

    # -- state ------------------------------------------------------------------------------------

    def new_state(self, number: int) -> RecipientPartition:
        """Nothing known of anybody."""
        return RecipientPartition(number, self._settings, self._policy)

    def restored(
        self, number: int, meta: Mapping[str, Any], columns: Columns
    ) -> RecipientPartition:
        """State and spellings out of a snapshot."""
        for names, pairs in zip(self._all_names(), meta["names"], strict=True):
            for code, spelling in pairs:
                names.learn(code, spelling)
        return restore(number, self._settings, meta["state"], columns, self._policy)

    def written_down(self, held: Held[RecipientPartition]) -> tuple[dict[str, Any], Columns]:
        """State and spellings for a snapshot."""
        meta, columns = snapshot(held.state)
        return {"state": meta, "names": [n.items() for n in self._all_names()]}, columns

    def _all_names(self) -> tuple[Names, Names, Names, Names]:
        return self._clients, self._sources, self._segments, self._zones

    # -- a piece of work --------------------------------------------------------------------------

    def apply(self, held: Held[RecipientPartition], piece: Piece, emit: bool) -> Outputs:
        """Gate, join, label; what goes out are examples, answers and dead letters."""
        which = self.topics.index(piece.topic)
        if which == 0:
            return self._apply_sends(held, piece, emit)
        if which == 1:
            return self._apply_engagements(held, piece, emit)
        return self._apply_requests(held, piece, emit)

    def _apply_sends(self, held: Held[RecipientPartition], piece: Piece, emit: bool) -> Outputs:
        batch, refused = self._read(self._gates[0], held, piece)
        outcome = held.state.apply_sends(batch, emit)
        return self._outputs(held, piece, refused, outcome, emit)

    def _apply_engagements(
        self, held: Held[RecipientPartition], piece: Piece, emit: bool
    ) -> Outputs:
        batch, refused = self._read(self._gates[1], held, piece)
        outcome = held.state.apply_engagements(batch, emit)
        return self._outputs(held, piece, refused, outcome, emit)

    def _apply_requests(self, held: Held[RecipientPartition], piece: Piece, emit: bool) -> Outputs:
        batch, refused = self._read(self._gates[2], held, piece)
        outcome = held.state.apply_requests(batch, emit)
        out = dict(self._outputs(held, piece, refused, outcome, emit))
        held.count(piece.topic, "predictions", outcome.applied)
        if emit and outcome.applied:
            keys, values = prediction_records(self._answer(held, batch, outcome))
            columns = BinaryColumn.full(*values), BinaryColumn.full(*keys)
            out[self._name(PREDICTIONS)] = KeyedRecords(*columns)
        return out

    def _answer(
        self, held: Held[RecipientPartition], batch: RequestBatch, outcome: Outcome
    ) -> Predictions:
        taken, people = outcome.accepted, outcome.people
        if not taken.all():
            batch, people = batch.selected(taken), people[taken]
        names = self._clients, self._sources
        return answers(held.state, batch, people, self._directory, *names)

    def _read(
        self, gate: Gate[Batch], held: Held[RecipientPartition], piece: Piece
    ) -> tuple[Batch, list[Refused]]:
        records = piece.records
        batch, refused = gate.read(
            records.values, records.keys, records.offsets, records.timestamps_ms
        )
        held.count(piece.topic, "in", len(records))
        held.count(piece.topic, "dead_letter", len(refused))
        return batch, refused

    def _outputs(
        self,
        held: Held[RecipientPartition],
        piece: Piece,
        refused: Sequence[Refused],
        outcome: Outcome,
        emit: bool,
    ) -> Outputs:
        for bucket in ("applied", "duplicate", "late", "erased"):
            held.count(piece.topic, bucket, getattr(outcome, bucket))
        if not emit:
            return {}
        out: dict[str, Output] = {}
        if refused:
            out[self._name(DEAD_LETTERS)] = [_dead_letter(piece, r) for r in refused]
        partitions = self._pipeline.topics.partitions_of(EXAMPLES)
        rows = ExampleRows.of(held.state, outcome, self._clients, self._segments, partitions)
        if len(rows):
            out[self._name(EXAMPLES)] = rows
        return out

    # -- what readers see ------------------------------------------------------------------------

    async def publish_all(self) -> None:
        """As every stage; clients' counts rest after a write that took long.

        With thousands of clients active at once these alone would keep a worker and Redis busy.
        """
        self._counting, self._counting_s = time.monotonic() >= self._count_at, 0.0
        await super().publish_all()
        if self._counting:
            rest_s = _REST * self._counting_s - self._pipeline.redis.flush_interval_ms / 1000
            longest_s = self._pipeline.publish.metrics_ms / 1000
            self._count_at = time.monotonic() + min(rest_s, longest_s)

    async def publish(self, held: Held[RecipientPartition], complete: bool) -> None:
        """Write changed recipients, then counts; clients' if it is their turn, or a window ends."""
        state, owner = held.state, self.owner(held)
        erased = state.take_erased()
        if len(erased[0]):
            try:
                await self.write(self._sink.erase_recipients, owner, self._rows(*erased))
            except BaseException:
                state.mark_erased()
                raise
        changed, heard = state.take_changed()
        for start in range(0, len(changed), _SLOTS_PER_WRITE):
            part = slice(start, start + _SLOTS_PER_WRITE)
            try:
                await self._write_recipients(held, changed[part], heard[part])
            except BaseException:
                state.mark_changed(changed[start:], heard[start:])
                raise
        counts = held.counts_now()
        if counts != held.published:
            await self.write(self._sink.write_counts, owner, self._totals(held))
            held.published = counts  # as written: more was counted while that was under way
        over = self._window_is_over(held)
        if complete or self._counting or over:
            await self._publish_clients(held)
        if over:
            await self._close_window(held)

    async def _publish_clients(self, held: Held[RecipientPartition]) -> None:
        """Write clients' counts, and how fresh their sources are."""
        began, owner = time.monotonic(), self.owner(held)
        try:
            if counts := self._client_counts(held):
                await self.write(self._sink.write_counts, owner, counts)
            if rows := self._freshness(held):
                await self.write(self._sink.write_freshness, owner, rows)
        except BaseException:
            held.state.counters.mark_changed()
            raise
        finally:
            self._counting_s += time.monotonic() - began

    def mark_all_changed(self, held: Held[RecipientPartition]) -> None:
        """All recipients, all counts, and those that were erased once more."""
        held.state.mark_all_changed()
        held.published = {}

    def _window_is_over(self, held: Held[RecipientPartition]) -> bool:
        size_ms, now_ms = self._pipeline.windows.size_ms, time.time_ns() // 1_000_000
        start_ms = self._window_of.setdefault(held.number, now_ms // size_ms * size_ms)
        return now_ms >= start_ms + size_ms

    async def _close_window(self, held: Held[RecipientPartition]) -> None:
        """Once a window, say how fresh each source was in it; a lost message is not repeated."""
        size_ms, now_ms = self._pipeline.windows.size_ms, time.time_ns() // 1_000_000
        start_ms = self._window_of[held.number]
        self._window_of[held.number] = now_ms // size_ms * size_ms
        rows = held.state.counters.close_window()
        seen = [self._source_freshness(held.number, row, now_ms) for row in rows]
        made = freshness_metrics(seen, [row.events for row in rows], start_ms, now_ms)
        records = [metric_record(message) for message in made]
        if records:
            sent = [Record(record.value, record.key) for record in records]
            await self.emit(held, {self._name(METRICS): sent})

    def take_ages_s(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile of event-to-published age since the last call, in seconds."""
        ages, self._ages_s = np.concatenate([*self._ages_s, np.zeros(0)]), []
        if not len(ages):
            return None, None
        p50, p99 = np.quantile(ages, [0.5, 0.99]).tolist()
        return float(p50), float(p99)

    async def _write_recipients(
        self, held: Held[RecipientPartition], slots: NDArray[np.int32], heard: NDArray[np.bool_]
    ) -> None:
        offset = held.runtime.positions.applied[self.topics[1]]
        live = held.state.live(slots)
        # The largest single cost of a worker: in a thread, where compiled scoring leaves this loop
        # and the interpreter to others.
        rows = await asyncio.to_thread(
            records, live, self._policy, self._directory, held.epoch, offset
        )
        whose = self._rows(live.client, live.ids)
        await self.write(self._sink.write_recipients, self.owner(held), whose, rows)
        # A record that a label has changed has no news that could be old.
        held_back_ms = time.time_ns() // 1_000_000 - rows["event_time_ms"][heard]
        self._ages_s.append(held_back_ms[held_back_ms < _LIVE_MS] / 1000)

    def _rows(self, clients: Any, recipients: Any) -> RecipientRows:
        codes, index = np.unique(clients, return_inverse=True)
        return RecipientRows(
            clients=[self._clients[code] for code in codes.tolist()],
            client_index=index.reshape(-1),
            recipients=recipients,
        )

    def _totals(self, held: Held[RecipientPartition]) -> list[PartitionCounts]:
        """Absolute counts of the partition, over all clients."""
        return [
            PartitionCounts(client_id=None, topic=topic, partition=held.number, counts=dict(table))
            for topic, table in held.counts.items()
        ]

    def _client_counts(self, held: Held[RecipientPartition]) -> list[PartitionCounts]:
        """Absolute counts of the partition, of clients for whom they changed."""
        return [
            PartitionCounts(
                client_id=self._clients[client],
                topic=self.topics[topic],
                partition=held.number,
                counts=counts,
            )
            for client, topic, counts in held.state.counters.take_clients()
        ]

    def _freshness(self, held: Held[RecipientPartition]) -> list[SourceFreshness]:
        as_of_ms = time.time_ns() // 1_000_000
        rows = held.state.counters.take_freshness()
        return [self._source_freshness(held.number, row, as_of_ms) for row in rows]

    def _source_freshness(self, number: int, row: FreshnessRow, as_of_ms: int) -> SourceFreshness:
        return SourceFreshness(
            client_id=self._clients[row.client],
            source=self._sources[row.source],
            partition=number,
            newest_event_ms=row.newest_event_ms,
            as_of_ms=as_of_ms,
            lag_p50_s=row.lag_p50_s,
            lag_p95_s=row.lag_p95_s,
            lag_p99_s=row.lag_p99_s,
            late=row.late,
        )


def _dead_letter(piece: Piece, refusal: Refused) -> Record:
    headers = DeadLetterHeaders(
        reason=refusal.reason,
        detail=refusal.detail,
        topic=piece.topic,
        partition=piece.partition,
        offset=refusal.offset,
        timestamp_ms=int(piece.records.timestamps_ms[refusal.row]),
    )
    key, value = piece.records.keys[refusal.row], piece.records.values[refusal.row]
    record = dead_letter_record(key, value, headers)
    return Record(record.value, record.key, headers=record.headers)
