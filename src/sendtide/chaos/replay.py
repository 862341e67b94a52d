"""A clean replay: the log of each partition applied from its beginning, once, by one thread."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from sendtide.events.examples import ExampleBlock
from sendtide.events.topics import EXAMPLES
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.recipients import RecipientPartition, digest
from sendtide.sinks.memory import MemoryStore
from sendtide.stages.held import Held
from sendtide.stages.piece import Piece
from sendtide.stages.positions import Positions
from sendtide.stages.recipient import RecipientStage
from sendtide.stages.runtime import PartitionRuntime
from sendtide.stages.snapshots import snapshot_store
from sendtide.state import SnapshotStore
from sendtide.transport import Outputs, RecordBatch, Tenure, merged

__all__ = ["Clean", "replayed"]

_BATCH: Final = 5_000
_READ_S: Final = 30.0
_WAIT_S: Final = 0.2


@dataclass(slots=True)
class Clean:
    """different: partitions whose snapshot differs from the replay. examples: rows made."""

    different: list[int] = field(default_factory=list)
    examples: int = 0


class _Acknowledged:
    """A chunk of the transport, without a broker to tell of its end."""

    def __init__(self, topic: str, number: int, records: RecordBatch) -> None:
        self.topic, self.partition, self.records = topic, number, records
        self.first_offset, self.next_offset = records.first_offset, records.next_offset

    def hold(self) -> None:
        """Nothing waits for it."""

    def ack(self) -> None:
        """Nobody is told."""


def replayed(kafka: str, pipeline: Pipeline, snapshots: str) -> Clean:
    """Replay all partitions of stage A and compare digests with the newest snapshots'."""
    clean, store = Clean(), snapshot_store(pipeline, "recipients", url=snapshots)
    for number in range(pipeline.topics.partitions):
        stage = _stage(pipeline, store)
        state, made = _replay(kafka, stage, number)
        clean.examples += made[pipeline.topics.full_name(EXAMPLES)]
        newest = store.newest(number)
        found = stage.restored(number, *newest[1:]) if newest else stage.new_state(number)
        if digest(found) != digest(state):
            clean.different.append(number)
    return clean


def _stage(pipeline: Pipeline, store: SnapshotStore) -> RecipientStage:
    return RecipientStage(
        pipeline,
        ModelDirectory(),
        deliver=None,
        sink=MemoryStore(),
        snapshots=store,
        offsets=None,
        on_failure=lambda _: None,
    )


def _replay(
    kafka: str, stage: RecipientStage, number: int
) -> tuple[RecipientPartition, Mapping[str, int]]:
    """State after the whole log, and the example rows made."""
    made: Counter[str] = Counter()

    def apply(piece: Piece, emit: bool) -> Outputs:
        outputs = stage.apply(held, piece, emit)
        for topic, records in merged([outputs]):
            if topic.endswith(EXAMPLES.name):
                made[topic] += sum(len(ExampleBlock.from_bytes(r.value or b"")) for r in records)
        return outputs

    positions = Positions.recovered({}, {}, dict.fromkeys(stage.topics, (0, 0)))
    runtime: PartitionRuntime[Piece, Outputs] = PartitionRuntime(positions, apply)
    held: Held[RecipientPartition] = Held(number, 1, stage.new_state(number), runtime, Tenure(), {})
    for topic in stage.topics:
        for records in _log(kafka, topic, number):
            for _ in runtime.feed(Piece.whole(_Acknowledged(topic, number, records))):
                pass
    return held.state, made


def _log(kafka: str, topic: str, number: int) -> Iterator[RecordBatch]:
    settings: dict[str, Any] = {"bootstrap.servers": kafka, "group.id": "replay"}
    reader = Consumer({**settings, "enable.partition.eof": True, "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, number, 0)])
    deadline = time.monotonic() + _READ_S
    try:
        while True:
            found = reader.consume(_BATCH, _WAIT_S)  # waits in vain for more at the end
            messages = [message for message in found if not message.error()]
            if messages:
                yield RecordBatch.of(messages)
            if len(messages) < len(found):
                return
            if time.monotonic() > deadline:
                msg = f"{topic}/{number} cannot be read to its end within {_READ_S} s"
                raise RuntimeError(msg)
    finally:
        reader.close()
