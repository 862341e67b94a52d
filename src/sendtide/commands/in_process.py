"""An archive through gates, recipients and clients in this process: no broker, one partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sendtide.clients import ClientPartition, LiftSummary
from sendtide.events.batch import Names
from sendtide.events.errors import CorruptData
from sendtide.events.examples import ExampleBlock, ExampleKind
from sendtide.events.messages import AlertMessage, MetricMessage
from sendtide.events.wire import Records
from sendtide.gate import EngagementGate, SendGate
from sendtide.models.propensity import TARGETS
from sendtide.pipeline import Pipeline
from sendtide.recipients import Outcome, RecipientPartition, blocks
from sendtide.stages.client import client_settings
from sendtide.stages.recipient import join_settings, policy_settings

__all__ = ["Replay", "replay"]

F64 = NDArray[np.float64]


@dataclass(slots=True)
class Replay:
    """What was predicted and judged.

    at_send, progressive: (sends, 5) propensities, row k that of the k-th send: as the models stood
    when it was sent; and when its label was about to be learned. facts: (sends, 5), what became of
    it. labelled: (sends,) whether it had its label and was no bounce. lifts: of opens and clicks
    over the control group; whoever sent these heeded no answers, so any would be false.
    """

    at_send: F64
    progressive: F64
    facts: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    metrics: list[MetricMessage] = field(default_factory=list)
    alerts: list[AlertMessage] = field(default_factory=list)
    lifts: list[LiftSummary] = field(default_factory=list)

    @classmethod
    def of(cls, sends: int) -> Replay:
        """Nothing predicted yet."""
        shape = (sends, len(TARGETS))
        return cls(
            np.full(shape, np.nan),
            np.full(shape, np.nan),
            np.zeros(shape, bool),
            np.zeros(sends, bool),
        )


def replay(
    records: Iterator[Records], sends: int, pipeline: Pipeline, tell: Callable[[int], None]
) -> Replay:
    """Take records in their order; `tell` hears how many sends have been labelled.

    Raises:
        CorruptData: a record is refused, or a send has no label in the end.
    """
    way, seen = _Way(pipeline), Replay.of(sends)
    for part in records:
        for outcome in way.apply(part):
            _take(seen, way, outcome)
        tell(int(seen.labelled.sum()))
    seen.lifts = way.stage.lifts()
    return seen


class _Way:
    """Both stages of one partition."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.clients, self.segments = Names(), Names()
        names: dict[str, Any] = {
            "clients": self.clients,
            "segments": self.segments,
            "sources": Names(),
            "zones": Names(),
        }
        self._gates = (
            SendGate(max_future_ms=pipeline.sends.max_future_ms, **names),
            EngagementGate(max_future_ms=pipeline.engagements.max_future_ms, **names),
        )
        self._recipients = RecipientPartition(0, join_settings(pipeline), policy_settings(pipeline))
        self._steps: tuple[Callable[[Any], Outcome], ...] = (
            self._recipients.apply_sends,
            self._recipients.apply_engagements,
        )
        self.stage = ClientPartition(0, client_settings(pipeline))
        self._offsets = [0, 0]

    def apply(self, records: Records) -> Iterator[Outcome]:
        """Runs of one topic in the order of the records, so that a send knows the opens before."""
        starts = np.flatnonzero(np.diff(records.topic, prepend=np.int64(-1)))
        for start, end in pairwise([*starts.tolist(), len(records)]):
            run = slice(start, end)
            topic, n = int(records.topic[start]), end - start
            offsets = np.arange(self._offsets[topic], self._offsets[topic] + n)
            batch, refused = self._gates[topic].read(
                records.values[run], records.keys[run], offsets, records.timestamps_ms[run]
            )
            if refused:
                name = records.topics[topic]
                msg = f"record {refused[0].offset} of {name} is refused: {refused[0].detail}"
                raise CorruptData(msg)
            self._offsets[topic] += n
            yield self._steps[topic](batch)

    def cut(self, columns: Any, kind: ExampleKind) -> Iterator[ExampleBlock]:
        """Example rows as blocks of the one partition."""
        if columns is not None and len(columns["send_offset"]):
            tables = self.clients, self.segments, self._recipients.creatives.of(columns["creative"])
            for _, block in blocks(columns, kind, *tables, 1):
                yield block


def _take(seen: Replay, way: _Way, outcome: Outcome) -> None:
    for block in way.cut(outcome.exposures, "exposure"):
        seen.at_send[block.columns["send_offset"]] = way.stage.predict(block)
        found = way.stage.apply(block)
        seen.metrics += found.metrics
        seen.alerts += found.alerts
    for block in way.cut(outcome.labels, "label"):
        found = way.stage.apply(block)
        at = found.learned.send_offset
        seen.progressive[at], seen.facts[at] = found.learned.propensities, found.learned.facts
        seen.labelled[at] = True
        seen.alerts += found.alerts
