"""Rows of many partitions in common blocks: each row once, in its partition's order."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.blocks import CREATIVES, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.events.batch import Names
from sendtide.events.creative import Creatives
from sendtide.events.examples import ExampleBlock
from sendtide.events.messages import EngagementEvent, SendEvent
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.sinks import MemoryStore
from sendtide.stages.example_rows import ExampleRows, RowsOfOneKind
from sendtide.stages.held import Held
from sendtide.stages.piece import Piece
from sendtide.stages.positions import Positions
from sendtide.stages.recipient import RecipientStage
from sendtide.stages.runtime import PartitionRuntime
from sendtide.state import SnapshotStore
from sendtide.transport import Chunk, Record, RecordBatch, Tenure, merged

CLIENTS, SEGMENTS = Names(), Names()
for code in range(1, 6):
    CLIENTS.learn(code, f"client-{code}")
    SEGMENTS.learn(code, f"segment-{code}")
MADE_OF = Creatives.of(CREATIVES)
PARTITIONS = 3
NOW_MS, DAY_MS = 1_790_000_000_000, 86_400_000


def rows_of(origin: int, first: int, n: int, kind: Any = "label") -> ExampleRows:
    """Rows as a partition of recipients makes them: hashes in the places of names."""
    columns = example_rows(n, seed=first + origin, first=first)
    columns["origin"] = np.full(n, origin, np.uint16)
    columns["client"] = columns["client"].astype(np.uint64) + np.uint64(1)
    columns["segment"] = columns["segment"].astype(np.uint64)
    codes = np.append(np.zeros(1, np.uint64), MADE_OF.codes)
    columns["creative"] = codes[columns["creative"] % len(codes)]
    used = np.isin(MADE_OF.codes, columns["creative"])
    creatives = Creatives(MADE_OF.codes[used], MADE_OF.rows[used])
    part = RowsOfOneKind(kind, columns, creatives)
    return ExampleRows([part], CLIENTS, SEGMENTS, PARTITIONS)


def told(records: list[Record]) -> dict[Any, list[Any]]:
    """What readers find of each origin, kind and destination, in order; names in full."""
    found = defaultdict(list)
    for record in records:
        block = ExampleBlock.from_bytes(record.value)
        columns = block.columns
        for i in range(len(block)):
            place = int(columns["creative"][i])
            row = (
                block.clients[columns["client"][i]],
                block.segments[columns["segment"][i]],
                block.creatives[place - 1].tobytes() if place else b"",
                *(columns[name][i].tobytes() for name in ("send_offset", "content", "evidence")),
            )
            found[int(columns["origin"][i]), block.kind, record.partition].append(row)
    return found


@settings(max_examples=20, deadline=None)
@given(
    works=st.lists(
        st.tuples(st.integers(0, 4), st.integers(1, 60), st.sampled_from(["exposure", "label"])),
        min_size=1,
        max_size=10,
    )
)
def test_rows_written_together_are_those_written_alone(works) -> None:
    """The same rows of each origin and kind in the same order, wherever they go."""
    parts = [rows_of(o, 100 * i, n, kind) for i, (o, n, kind) in enumerate(works)]
    together = merged([{"ml.examples": part} for part in parts])
    alone = defaultdict(list)
    for part in parts:
        for key, rows in told(part.records([])).items():
            alone[key] += rows
    assert [topic for topic, _ in together] == ["ml.examples"]
    assert told(list(together[0][1])) == alone
    assert len(together[0][1]) <= 2 * PARTITIONS


def test_what_is_learned_does_not_depend_on_what_was_written_together() -> None:
    """One block of three origins teaches what three blocks do; so do repeats among them."""
    parts = [rows_of(origin, 1_000 * origin, 400) for origin in range(3)]
    parts.append(parts[1])
    one, many = ClientPartition(0, ClientSettings()), ClientPartition(0, ClientSettings())
    common = [replace(part, partitions=1) for part in parts]
    (block,) = common[0].records(common[1:])
    outcome = one.apply(ExampleBlock.from_bytes(block.value))
    assert (outcome.accepted, outcome.repeated) == (1_200, 400)
    for part in common:
        many.apply(ExampleBlock.from_bytes(part.records([])[0].value))
    assert one.digest() == many.digest()


def test_other_topics_keep_their_records_and_places() -> None:
    """Records stay as they are; only what can be merged is."""
    first, second = rows_of(0, 0, 5), rows_of(1, 100, 5)
    answer, other = [Record(b"1")], [Record(b"2")]
    works = [
        {"ml.predictions": answer, "ml.examples": first},
        {"ml.examples": second, "ml.predictions": other},
    ]
    found = merged(works)
    assert [topic for topic, _ in found] == ["ml.predictions", "ml.examples", "ml.predictions"]
    assert (found[0][1], found[2][1]) == (answer, other)
    assert sum(len(rows) for rows in told(list(found[1][1])).values()) == 10


def test_the_size_is_that_of_the_columns() -> None:
    """What bounds a round of writing is about what is written."""
    part = rows_of(0, 0, 300)
    written = sum(len(record.value) for record in part.records([]))
    assert written / 2 < part.size < 2 * written


def piece(topic: str, event: Any) -> Piece:
    """One event as a worker is given it."""
    message = Message(
        topic=topic,
        partition=7,
        offset=0,
        key=f"c1:{event.recipient_id}".encode(),
        value=msgspec.json.encode(event),
        timestamp=(1, event.event_time_ms),
    )
    return Piece.whole(Chunk(topic, 7, RecordBatch.of([message]), 1, lambda _: None))


def test_sends_that_are_due_when_they_come_make_labels_too(tmp_path) -> None:
    """Engagements were read a horizon ahead: rows of both kinds go out."""
    stage = RecipientStage(
        Pipeline(),
        ModelDirectory(),
        deliver=None,
        sink=MemoryStore(),
        snapshots=SnapshotStore(str(tmp_path), "recipients", 2),
        offsets=None,
        on_failure=lambda _: None,
    )
    runtime = PartitionRuntime(Positions.recovered({}, {}, {}), lambda *_: {})
    held = Held(7, 1, stage.new_state(7), runtime, Tenure(), {})
    about = {"source": "esp", "client_id": "c1", "recipient_id": "ab" * 16}
    opened = EngagementEvent(
        **about, id="o", event_time_ms=NOW_MS + 30 * DAY_MS, message_id="another", kind="open"
    )
    assert stage.apply(held, piece("email.engagements", opened), True) == {}
    send = SendEvent(**about, id="s", event_time_ms=NOW_MS)
    found = merged([stage.apply(held, piece("email.sends", send), True)])
    read = [ExampleBlock.from_bytes(record.value) for _, rows in found for record in rows]
    assert [block.kind for block in read] == ["exposure", "label"]
    assert all(block.columns["origin"].tolist() == [7] for block in read)
