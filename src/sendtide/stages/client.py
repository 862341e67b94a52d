"""Stage B: example blocks -> learned models, metrics, alerts, summaries."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sendtide.clients import (
    ChallengerSettings,
    ClientOutcome,
    ClientPartition,
    ClientSettings,
    LearnedRows,
    lift_message,
)
from sendtide.clients.challengers import Challengers
from sendtide.clients.outcome import ClientSummary
from sendtide.events.errors import CorruptData
from sendtide.events.examples import ExampleBlock
from sendtide.events.messages import DeadLetterHeaders
from sendtide.events.topics import ALERTS, DEAD_LETTERS, EXAMPLES, METRICS, MODELS
from sendtide.models.bank import LinearSettings
from sendtide.models.propensity_bank import PropensitySettings
from sendtide.models.registry import ALL_CLIENTS
from sendtide.pipeline import Pipeline, PropensityModel, RiverModel
from sendtide.sinks import ClientLift, ModelSummary, PartitionCounts, StateRow
from sendtide.sinks.topics import alert_record, dead_letter_record, metric_record
from sendtide.stages.held import Columns, Held
from sendtide.stages.piece import Piece
from sendtide.stages.stage import Stage
from sendtide.transport import Outputs, Record

__all__ = ["PROGRESSIVE", "ClientStage", "client_settings"]

PROGRESSIVE = np.dtype(
    [("origin", "<i4"), ("send_offset", "<i8"), ("prediction", "<f8"), ("label", "u1")]
)
"""A row of the progressive log: what was predicted before the label was learned."""
_RATE_SPAN_S = 10.0
_SUMMARY_FIELDS = [field.name for field in fields(ClientSummary)]
_EXPLAINED = ("send_time", "propensity")
"""Kinds of model whose states readers need, to say why."""


def client_settings(pipeline: Pipeline) -> ClientSettings:
    """Settings of a partition of clients out of the pipeline file."""
    hours = pipeline.send_time()
    opens = next((m for m in pipeline.models if isinstance(m, PropensityModel)), None)
    opens = opens or PropensityModel(name="propensity", kind="propensity")
    drift = pipeline.drift
    return ClientSettings(
        targets=opens.learned,
        propensity=PropensitySettings(
            opens.learner, LinearSettings(learning_rate=opens.learning_rate, l2=opens.l2)
        ),
        prior_strength=hours.prior_strength,
        window_ms=pipeline.windows.size_ms,
        window_lateness_ms=pipeline.windows.allowed_lateness_ms,
        reference_rows=drift.reference_rows,
        psi_floor=drift.psi_floor,
        psi_critical=drift.psi_critical,
        alpha=drift.alpha,
        dwell_windows=drift.dwell_windows,
        minimum_count=drift.minimum_count,
        adwin_delta=drift.adwin_delta,
        send_time_model=hours.name,
        propensity_model=opens.suffix,
        detectors=frozenset(drift.detectors),
        clients=_names(pipeline.clients.with_models),
        control_share=hours.control_share,
        control_salt=hours.control_salt,
        challengers=tuple(
            ChallengerSettings(
                name=model.name,
                classes=model.class_path,
                params=tuple(model.params.items()),
                clients=_names(model.clients),
                promote_after=model.promote_after if model.promote == "advise" else None,
            )
            for model in pipeline.models
            if isinstance(model, RiverModel)
        ),
    )


def _names(clients: Literal["*"] | list[str]) -> frozenset[str] | None:
    return None if clients == "*" else frozenset(clients)


class ClientStage(Stage[ClientPartition]):
    """One worker's partitions of `ml.examples`."""

    def __init__(self, pipeline: Pipeline, progressive_log: str | None, **wiring: Any) -> None:
        name = pipeline.topics.full_name
        super().__init__("clients", [name(EXAMPLES)], **wiring)
        self._name = name
        self._settings = client_settings(pipeline)
        Challengers(self._settings.challengers)  # one of no use is told now, not by the first event
        self._models_every_s = pipeline.publish.models_ms / 1000
        self._models_sent: dict[int, float] = {}
        self._window_s = pipeline.windows.size_ms / 1000
        self._lifts_told: dict[int, float] = {}
        self._log = Path(progressive_log) if progressive_log else None
        self._seen: dict[tuple[str, str], tuple[float, int, float]] = {}

    def new_state(self, number: int) -> ClientPartition:
        """Nothing known of any client."""
        return ClientPartition(number, self._settings)

    def restored(self, number: int, meta: Mapping[str, Any], columns: Columns) -> ClientPartition:
        """State out of a snapshot."""
        return ClientPartition.restore(number, self._settings, meta["state"], columns)

    def written_down(self, held: Held[ClientPartition]) -> tuple[dict[str, Any], Columns]:
        """State for a snapshot."""
        meta, columns = held.state.snapshot()
        return {"state": meta}, columns

    def apply(self, held: Held[ClientPartition], piece: Piece, emit: bool) -> Outputs:
        """Learn and count block by block; a record that is no block goes to the dead letters."""
        out: dict[str, list[Record]] = {}
        for row, value in enumerate(piece.records.values):
            try:
                block = ExampleBlock.from_bytes(value or b"")
            except CorruptData as error:
                held.count(piece.topic, "dead_letter", 1)
                out.setdefault(self._name(DEAD_LETTERS), []).append(
                    _refused(piece, row, str(error))
                )
                continue
            outcome = held.state.apply(block)
            held.count(piece.topic, "applied", outcome.accepted)
            held.count(piece.topic, "duplicate", outcome.repeated)
            closed = {(m.client_id, m.window_start_ms) for m in outcome.metrics}
            held.count(piece.topic, "windows", len(closed))
            if emit:
                self._collect(outcome, out)
        return out if emit else {}

    def _collect(self, outcome: ClientOutcome, out: dict[str, list[Record]]) -> None:
        for message in outcome.metrics:
            record = metric_record(message)
            out.setdefault(self._name(METRICS), []).append(Record(record.value, record.key))
        for alert in outcome.alerts:
            record = alert_record(alert)
            out.setdefault(self._name(ALERTS), []).append(Record(record.value, record.key))
        if self._log is not None and len(outcome.learned.label):
            _append(self._log, outcome.learned)

    async def publish(self, held: Held[ClientPartition], complete: bool) -> None:  # noqa: ARG002
        """Write summaries and counts to the sink, and changed models to their topic."""
        owner = self.owner(held)
        summaries = [self._summary(_fields(row)) for row in held.state.summaries()]
        if summaries:
            try:
                await self.write(self._sink.write_models, owner, summaries)
            except BaseException:
                held.state.mark_summaries_changed()
                raise
        counts = held.counts_now()
        if counts != held.published:
            rows = [
                PartitionCounts(client_id=None, topic=t, partition=held.number, counts=table)
                for t, table in counts.items()
            ]
            await self.write(self._sink.write_counts, owner, rows)
            held.published = counts  # as written: more was counted while that was under way
        await self._publish_lifts(held)
        now = time.monotonic()
        if now - self._models_sent.get(held.number, -self._models_every_s) >= self._models_every_s:
            self._models_sent[held.number] = now
            await self.publish_models(held)

    async def _publish_lifts(self, held: Held[ClientPartition]) -> None:
        """Once a window, tell of control groups with new labels; a lost message is not repeated."""
        now = time.monotonic()
        if now - self._lifts_told.get(held.number, -self._window_s) < self._window_s:
            return
        found = held.state.lifts()
        if not found:
            return
        rows = [ClientLift(**asdict(lift)) for lift in found]
        try:
            await self.write(self._sink.write_lifts, self.owner(held), rows)
        except BaseException:
            held.state.mark_lifts_changed()
            raise
        self._lifts_told[held.number] = now
        records = [metric_record(lift_message(lift)) for lift in found]
        await self.emit(held, {self._name(METRICS): [Record(r.value, r.key) for r in records]})

    def mark_all_changed(self, held: Held[ClientPartition]) -> None:
        """All summaries, lifts, model states and counts."""
        held.state.mark_summaries_changed()
        held.state.mark_lifts_changed()
        held.state.mark_models_changed()
        self._lifts_told.pop(held.number, None)
        self._models_sent.pop(held.number, None)
        held.published = {}

    async def publish_models(self, held: Held[ClientPartition]) -> None:
        """Send the states of models that learned since the last time, and keep them for readers."""
        states = held.state.take_models()
        if not states:
            return
        records = [Record(state.to_bytes(), state.key()) for state in states]
        await self.emit(held, {self._name(MODELS): records})
        rows = [
            StateRow(client_id=state.client_id, kind=state.kind, value=record.value or b"")
            for state, record in zip(states, records, strict=True)
            if state.client_id != ALL_CLIENTS and state.kind in _EXPLAINED
        ]
        try:
            await self.write(self._sink.write_states, self.owner(held), rows)
        except BaseException:
            held.state.mark_models_changed()
            raise

    def _summary(self, fields: dict[str, Any]) -> ModelSummary:
        """A summary with the speed seen by this worker, smoothed over the last seconds."""
        key = (fields["client_id"], fields["model"])
        now, events = time.monotonic(), int(fields["events"])
        since, before, rate = self._seen.get(key, (now, events, 0.0))
        if now - since >= 1.0:
            share = min(1.0, (now - since) / _RATE_SPAN_S)
            rate += share * ((events - before) / (now - since) - rate)
            since, before = now, events
        self._seen[key] = (since, before, rate)
        return ModelSummary(**fields, events_per_s=rate)


def _fields(row: ClientSummary) -> dict[str, Any]:
    """As `asdict`, which would copy a client's 168 scores one by one."""
    return {name: getattr(row, name) for name in _SUMMARY_FIELDS}


def _append(path: Path, learned: LearnedRows) -> None:
    rows = np.zeros(len(learned.label), PROGRESSIVE)
    for name in PROGRESSIVE.names or ():
        rows[name] = getattr(learned, name)
    with path.open("ab") as file:
        file.write(rows.tobytes())


def _refused(piece: Piece, row: int, detail: str) -> Record:
    records = piece.records
    headers = DeadLetterHeaders(
        reason="bad_encoding",
        detail=detail[:200],
        topic=piece.topic,
        partition=piece.partition,
        offset=int(records.offsets[row]),
        timestamp_ms=int(records.timestamps_ms[row]),
    )
    record = dead_letter_record(records.keys[row], records.values[row], headers)
    return Record(record.value, record.key, headers=record.headers)
