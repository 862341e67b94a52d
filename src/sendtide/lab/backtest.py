"""A log of sends taken through recipients and clients as if it happened now, and what was foreseen.

Before each send its recipient is looked up as for a request: scores of the 24 hours of that day, by
what was known until then and by models as they stood at the last midnight (UTC). Nothing is told
about a send that was not known before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sendtide.clients import ClientPartition, ClientSettings
from sendtide.events.batch import EngagementBatch, Names, RequestBatch, SendBatch
from sendtide.events.examples import ExampleBlock, ExampleKind
from sendtide.events.messages import AlertMessage, MetricMessage
from sendtide.events.records import HOURS_PER_DAY, SlotScores
from sendtide.events.rhythm import BIN_HOURS, BINS, EVIDENCE
from sendtide.models import ModelDirectory
from sendtide.models.propensity import TARGETS
from sendtide.recipients import JoinSettings, Outcome, RecipientPartition, blocks

__all__ = ["Backtest", "Foreseen", "Part"]

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]

_DAY_MS: Final = 86_400_000
_LATENESS_MS: Final = 3_600_000
_STRANGER: Final = -1
_MOST_REFERENCE: Final = 10_000
_LEAST_REFERENCE: Final = 500
_WINDOW_ROWS: Final = 200
_WINDOW_DAYS: Final = (1, 7, 28)


class Part(Protocol):
    """Some sends or some engagements of a log; rows: of the sends, in the log."""

    @property
    def start_ms(self) -> int:
        """Beginning of the hour they are of."""
        ...

    @property
    def rows(self) -> I64:
        """Rows of the sends."""
        ...

    @property
    def sends(self) -> SendBatch | None:
        """The sends."""
        ...

    @property
    def engagements(self) -> EngagementBatch | None:
        """The engagements."""
        ...


@dataclass(slots=True)
class Foreseen:
    """Of each of n sends what was told before it, and what became of it.

    at_send: (n, 5) propensities in the order of TARGETS, as the models stood when it was sent;
    progressive: when its label was about to be learned. facts: (n, 5). labelled: (n,) whether its
    horizon is over and it was no bounce. used, best: (n,) P(open) at the hour it was sent and at
    the best hour of that day; the deviations are of their logits. best_hour: (n,) of the day.
    level: (n,) mean over the day's hours. by_bin: (n, BINS) means over three hours each. tier:
    (n,) codes. effective: (n,) sends known of its recipient.
    """

    at_send: F32
    progressive: F32
    facts: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    used: F32
    best: F32
    used_deviation: F32
    best_deviation: F32
    best_hour: U8
    level: F32
    by_bin: F32
    tier: U8
    effective: F32
    metrics: list[MetricMessage] = field(default_factory=list)
    alerts: list[AlertMessage] = field(default_factory=list)

    @classmethod
    def of(cls, sends: int) -> Foreseen:
        """Nothing foreseen yet."""
        columns = [np.full(sends, np.nan, np.float32) for _ in range(6)]
        used, best, used_deviation, best_deviation, level, effective = columns
        return cls(
            at_send=np.full((sends, len(TARGETS)), np.nan, np.float32),
            progressive=np.full((sends, len(TARGETS)), np.nan, np.float32),
            facts=np.zeros((sends, len(TARGETS)), bool),
            labelled=np.zeros(sends, bool),
            used=used,
            best=best,
            used_deviation=used_deviation,
            best_deviation=best_deviation,
            best_hour=np.zeros(sends, np.uint8),
            level=level,
            by_bin=np.full((sends, BINS), np.nan, np.float32),
            tier=np.zeros(sends, np.uint8),
            effective=effective,
        )


class Backtest:
    """One partition of recipients, one of clients, and the directory between them.

    Args:
        hour_of_week: (n,) of each send, on its recipient's clock; sends come in this order, and
            the offset of a send is its row.
        horizon_ms: how long after a send an engagement belongs to it.
        span_ms: from the first send to the last.
        clients: spellings of the names whose hashes the batches hold.
        segments: likewise.

    Attributes:
        seen: what was foreseen so far.
        window_days: size of the windows of drift.
    """

    def __init__(
        self, hour_of_week: U8, horizon_ms: int, span_ms: int, clients: Names, segments: Names
    ) -> None:
        n = len(hour_of_week)
        self.seen = Foreseen.of(n)
        self._hours = hour_of_week.astype(np.int64)
        self._names = clients, segments
        join = JoinSettings(
            horizon_ms=horizon_ms,
            sends_lateness_ms=_LATENESS_MS,
            engagements_lateness_ms=0,
            requests_lateness_ms=_LATENESS_MS,
            dedupe_window=1_000_000,
            machine_within_ms=0,  # times of logs are often drawn, or of whole minutes or days
        )
        self._recipients = RecipientPartition(0, join)
        usual = n // max(len(clients), 1)
        self.window_days = _window_days(usual, span_ms)
        settings = ClientSettings(
            window_ms=self.window_days * _DAY_MS,
            window_lateness_ms=_LATENESS_MS,
            reference_rows=min(max(usual // 10, _LEAST_REFERENCE), _MOST_REFERENCE),
            minimum_count=_WINDOW_ROWS,
        )
        self._clients = ClientPartition(0, settings)
        self._directory = ModelDirectory()
        self._day = -1

    def apply(self, part: Part) -> None:
        """Take the next part of the log."""
        if part.start_ms // _DAY_MS != self._day:
            self._day = part.start_ms // _DAY_MS
            for state in self._clients.take_models():
                self._directory.apply(state.to_bytes())
        if part.sends is not None:
            self._foresee(part.rows, part.sends)
            self._carry(self._recipients.apply_sends(part.sends))
        if part.engagements is not None:
            self._carry(self._recipients.apply_engagements(part.engagements))

    def everybody(self) -> SlotScores:
        """Scores of all recipients by all that is known now."""
        for state in self._clients.take_models():
            self._directory.apply(state.to_bytes())
        live = self._recipients.live(np.arange(self._recipients.recipients, dtype=np.int32))
        return self._directory.slots(live.client, live.segment, live.evidence)

    def _foresee(self, rows: I64, sends: SendBatch) -> None:
        """Scores of each send's day, by what is known before it."""
        found = self._directory.slots(sends.client, sends.segment, self._evidence(sends))
        hour = self._hours[rows]
        day = hour // HOURS_PER_DAY * HOURS_PER_DAY
        scores = found.scores[np.arange(len(rows))[:, None], day[:, None] + np.arange(24)]
        best, used = scores.argmax(axis=1), hour % HOURS_PER_DAY
        seen, at = self.seen, np.arange(len(rows))
        seen.used[rows], seen.best[rows] = scores[at, used], scores[at, best]
        seen.used_deviation[rows] = found.deviations[at, used]
        seen.best_deviation[rows] = found.deviations[at, best]
        seen.best_hour[rows], seen.level[rows] = best, scores.mean(axis=1)
        seen.by_bin[rows] = scores.reshape(-1, BINS, BIN_HOURS).mean(axis=2)
        seen.tier[rows], seen.effective[rows] = found.tiers, found.effective

    def _evidence(self, sends: SendBatch) -> F32:
        """(n, EVIDENCE) as for requests made at these moments; zeros for strangers."""
        batch = RequestBatch(
            **{
                name: getattr(sends, name)
                for name in ("offset", "timestamp_ms", "event_time_ms", "identity", "source")
            },
            client=sends.client,
            recipient=sends.recipient,
            window_start_ms=sends.event_time_ms,
            window_end_ms=sends.event_time_ms,
            zone=sends.zone,
            segment=sends.segment,
        )
        people = self._recipients.apply_requests(batch).people
        known = people != _STRANGER
        evidence = np.zeros((len(people), EVIDENCE), np.float32)
        evidence[known] = self._recipients.live(people[known]).evidence
        return evidence

    def _carry(self, outcome: Outcome) -> None:
        """Take example rows from recipients to clients."""
        seen = self.seen
        for block in self._cut(outcome.exposures, "exposure"):
            seen.at_send[block.columns["send_offset"]] = self._clients.predict(block)
            found = self._clients.apply(block)
            seen.metrics += found.metrics
            seen.alerts += found.alerts
        for block in self._cut(outcome.labels, "label"):
            found = self._clients.apply(block)
            learned = found.learned
            seen.progressive[learned.send_offset] = learned.propensities
            seen.facts[learned.send_offset] = learned.facts
            seen.labelled[learned.send_offset] = True
            seen.alerts += found.alerts

    def _cut(self, columns: Any, kind: ExampleKind) -> Iterator[ExampleBlock]:
        if columns is not None and len(columns["send_offset"]):
            tables = *self._names, self._recipients.creatives.of(columns["creative"])
            for _, block in blocks(columns, kind, *tables, 1):
                yield block


def _window_days(sends: float, span_ms: int) -> int:
    """The shortest window in which a usual client has twice the rows that are judged."""
    a_day = sends / max(span_ms / _DAY_MS, 1.0)
    fitting = (days for days in _WINDOW_DAYS if a_day * days >= 2 * _WINDOW_ROWS)
    return next(fitting, _WINDOW_DAYS[-1])
