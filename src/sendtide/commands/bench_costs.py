"""Where the processor time of an event goes, step by step: a worker's work without its servers.

records -> gate -> recipients -> example blocks written -> read -> clients; records of Redis scored

One process and one thread, partitions in turn, chunks as they come under load. What a worker needs
beyond the sum is fetching, sending, Redis and the event loop. The first part of the events is not
counted: a client's first labels are all learned by its population, later ones in part.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sendtide.clients import ClientPartition
from sendtide.commands.output import progress
from sendtide.connectors.partitioner import partitions_of
from sendtide.events.batch import Names
from sendtide.events.examples import ExampleBlock
from sendtide.events.topics import ENGAGEMENTS, EXAMPLES, SENDS
from sendtide.events.wire import Records
from sendtide.gate import EngagementGate, SendGate
from sendtide.lab import Scenario, event_records
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline, Topics
from sendtide.recipients import Outcome, RecipientPartition, records
from sendtide.stages.client import client_settings
from sendtide.stages.example_rows import ExampleRows
from sendtide.stages.recipient import join_settings, policy_settings

__all__ = ["Plan", "measure"]

_SETTLED: Final = 0.5
_PART: Final = 20_000
"""Events between two writes to Redis: 0.2 s of a hundred thousand a second."""
_TOPICS: Final = (SENDS.name, ENGAGEMENTS.name)
_WORDS: Final = ("sends", "engagements")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Plan:
    """chunk: records of a topic's partition taken at a time, on average."""

    events: int
    partitions: int
    chunk: int


def measure(plan: Plan) -> dict[str, Any]:
    """`rows`, each a step with `us_per_row` and `us_per_event`; `us_per_event` of all of them."""
    way, counted = _Way(plan), 0
    with progress() as bar:
        task = bar.add_task("events", total=plan.events)
        for part in event_records(plan.events, Scenario(request_share=0.0)):
            for first in range(0, len(part), _PART):
                way.take(part, first, min(first + _PART, len(part)))
            bar.advance(task, len(part))
            if bar.tasks[task].completed <= _SETTLED * plan.events:
                way.clock = _Clock()
                continue
            counted += len(part)
    rows = way.clock.rows(counted)
    return {
        "rows": rows,
        "us_per_event": sum(row["us_per_event"] for row in rows),
        "events": counted,
        "partitions": plan.partitions,
        "chunk": plan.chunk,
    }


class _Clock:
    """Processor time by step, and over how many rows."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._rows: dict[str, int] = defaultdict(int)

    def of(self, step: str, rows: int | None, work: Callable[[], Answer]) -> Answer:
        """rows: how many it is over; None: as many as the answer holds."""
        began = time.process_time()
        answer: Any = work()
        self._seconds[step] += time.process_time() - began
        self._rows[step] += len(answer) if rows is None else rows
        return cast("Answer", answer)

    def rows(self, events: int) -> list[dict[str, Any]]:
        return [
            {
                "step": step,
                "us_per_row": 1e6 * seconds / max(self._rows[step], 1),
                "us_per_event": 1e6 * seconds / events,
            }
            for step, seconds in sorted(self._seconds.items(), key=lambda pair: -pair[1])
        ]


class _Way:
    """Both stages of all partitions."""

    def __init__(self, plan: Plan) -> None:
        pipeline = Pipeline(topics=Topics(partitions=plan.partitions))
        self.clock = _Clock()
        self._plan = plan
        self._clients, self._segments = Names(), Names()
        names: dict[str, Any] = {"clients": self._clients, "segments": self._segments}
        names |= {"sources": Names(), "zones": Names()}
        self._gates = (
            SendGate(max_future_ms=pipeline.sends.max_future_ms, **names),
            EngagementGate(max_future_ms=pipeline.engagements.max_future_ms, **names),
        )
        settings = join_settings(pipeline), policy_settings(pipeline)
        self._recipients = [RecipientPartition(n, *settings) for n in range(plan.partitions)]
        learners = pipeline.topics.partitions_of(EXAMPLES)
        self._learners = [ClientPartition(n, client_settings(pipeline)) for n in range(learners)]
        self._directory = ModelDirectory()
        self._waiting: dict[tuple[int, int], list[tuple[bytes, bytes | None, int]]] = {}
        self._offsets: dict[tuple[int, int], int] = defaultdict(int)
        self._made: list[ExampleRows] = []

    def take(self, part: Records, first: int, last: int) -> None:
        """Some records in order; their examples are written; what changed is scored for Redis."""
        places = partitions_of(part.keys[first:last], self._plan.partitions).tolist()
        for place, row in zip(places, range(first, last), strict=True):
            which = _TOPICS.index(part.topics[part.topic[row]]), place
            waiting = self._waiting.setdefault(which, [])
            waiting.append((part.keys[row], part.values[row], int(part.timestamps_ms[row])))
            if len(waiting) >= self._plan.chunk:
                self._chunk(which, self._waiting.pop(which))
        if self._made:
            self._carry(self._made)
            self._made = []
        for state in self._recipients:
            self._score(state)

    def _chunk(self, which: tuple[int, int], chunk: list[tuple[bytes, bytes | None, int]]) -> None:
        topic, number = which
        keys, values, times = zip(*chunk, strict=True)
        n, word = len(chunk), _WORDS[topic]
        offsets = np.arange(self._offsets[which], self._offsets[which] + n)
        self._offsets[which] += n
        state = self._recipients[number]
        stamps: NDArray[np.int64] = np.array(times, np.int64)
        read = partial(self._gates[topic].read, values, keys, offsets, stamps)
        batch: Any = self.clock.of(f"gate: {word}", n, read)[0]
        join: Callable[[Any], Outcome] = (state.apply_sends, state.apply_engagements)[topic]
        outcome = self.clock.of(f"recipients: {word}", n, partial(join, batch))
        names = self._clients, self._segments
        self._made.append(ExampleRows.of(state, outcome, *names, len(self._learners)))

    def _carry(self, made: list[ExampleRows]) -> None:
        """Example rows through their topic to the clients."""
        rows = sum(map(len, made))
        for record in self.clock.of("examples: written", rows, partial(made[0].records, made[1:])):
            read = partial(ExampleBlock.from_bytes, record.value or b"")
            block = self.clock.of("examples: read", None, read)
            n = len(block)
            learn = partial(self._learners[record.partition].apply, block)
            self.clock.of(f"clients: {block.kind}s", n, learn)

    def _score(self, state: RecipientPartition) -> None:
        changed, _ = state.take_changed()
        if len(changed):
            self.clock.of("recipients: scored", len(changed), partial(self._scored, state, changed))

    def _scored(self, state: RecipientPartition, changed: NDArray[np.int32]) -> NDArray[np.void]:
        return records(state.live(changed), state.policy, self._directory, 1, 1)
