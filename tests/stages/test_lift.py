"""Stage B tells of control groups: in the read model and on `ml.metrics`, once a window."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message

from clients.blocks import block, example_rows
from sendtide.events.errors import Unavailable
from sendtide.events.messages import MetricMessage
from sendtide.pipeline import Pipeline
from sendtide.sinks import ClientLift, MemoryStore
from sendtide.stages.client import ClientStage
from sendtide.state import SnapshotStore
from sendtide.transport import Chunk, Outputs, Record, RecordBatch, merged

from .test_publishing import Log, stream

ROWS = example_rows(4_000, clients=2, seed=6)


class Topics:
    """Keeps what is sent, by topic."""

    def __init__(self) -> None:
        self.records: dict[str, list[Record]] = {}

    async def __call__(self, outputs: Outputs, *_: Any) -> None:
        """Take everything."""
        for topic, records in merged([outputs]):
            self.records.setdefault(topic, []).extend(records)

    def lifts(self) -> list[MetricMessage]:
        """Messages on `ml.metrics` that are of lifts."""
        found = [msgspec.json.decode(r.value, type=MetricMessage) for r in self.told()]
        return [message for message in found if message.metric.startswith("lift.")]

    def told(self) -> list[Record]:
        """Records of `ml.metrics`."""
        return self.records.get("ml.metrics", [])


class Away(MemoryStore):
    """Does not take the first lifts."""

    away = True

    def write_lifts(self, *arguments: Any) -> None:
        """As the parent, from the second time on."""
        self.away, before = False, self.away
        if before:
            raise Unavailable("away")
        super().write_lifts(*arguments)


def chunk(offset: int, part: slice) -> Chunk:
    """Some of the labels as the record at an offset."""
    value = block(ROWS, "label", 0, part).to_bytes()
    message = Message(topic="ml.examples", partition=0, offset=offset, key=None, value=value)
    return Chunk("ml.examples", 0, RecordBatch.of([message]), 1, lambda _: None)


def played(store: MemoryStore, folder: str, publishings: int, window: str = "1s") -> Topics:
    """Half of the labels, what is then published so many times, and the other half."""
    topics, failures = Topics(), []

    async def play() -> None:
        pipeline = Pipeline.model_validate({"windows": {"size": window}})
        stage = ClientStage(
            pipeline,
            None,
            deliver=topics,
            sink=store,
            snapshots=SnapshotStore(folder, "clients", 2),
            offsets=Log(),
            on_failure=failures.append,
        )
        await stage.assigned(0)
        await stage.consume(stream(chunk(0, slice(0, 2_000))))
        for _ in range(publishings):
            await stage.publish_all()
        await stage.consume(stream(chunk(1, slice(2_000, 4_000))))
        await stage.publish_all()
        await stage.revoked(0)

    asyncio.run(play())
    assert failures == []
    return topics


def test_lifts_are_in_the_read_model_and_on_the_topic(tmp_path):
    """Opens and clicks of each client, the same numbers in both places."""
    store = MemoryStore()
    topics = played(store, str(tmp_path), 1)
    rows = store.lifts()
    assert {(row.client_id, row.metric) for row in rows} == {
        (client, metric)
        for client in ("client-0", "client-1")
        for metric in ("lift.open", "lift.click")
    }
    for row in rows:
        assert 100 < row.control_sends < row.rest_sends
        assert row.metric == "lift.click" or row.low < row.lift < row.high
    messages = {(m.client_id, m.metric): m for m in topics.lifts()}
    assert len(messages) == len(rows)
    for row in rows:
        message = messages[row.client_id, row.metric]
        assert (message.value, message.n_reference) == (row.lift, row.control_sends)
        assert message.convention == "lift.confidence-sequence"
    assert {record.key for record in topics.told()} == {b"client-0", b"client-1"}


def test_once_a_window_is_enough(tmp_path):
    """Publishing comes every second; within a window of a day there is one message a series."""
    store = MemoryStore()
    topics = played(store, str(tmp_path), 3, window="1d")
    assert len(topics.lifts()) == 4
    assert sum(row.rest_sends + row.control_sends for row in store.lifts()) < 2 * 2_000


def test_a_store_that_was_away_is_told_next_time(tmp_path):
    """Nothing of a client is lost, and the topic hears of it once."""
    store = Away()
    topics = played(store, str(tmp_path), 2, window="1d")
    assert len(store.lifts()) == len(topics.lifts()) == 4


def test_a_partition_in_new_hands_tells_all_again(tmp_path):
    """What was written down goes on: the counts are those of all labels."""
    played(MemoryStore(), str(tmp_path), 1)
    store, topics, failures = MemoryStore(), Topics(), []

    async def play() -> None:
        stage = ClientStage(
            Pipeline(),
            None,
            deliver=topics,
            sink=store,
            snapshots=SnapshotStore(str(tmp_path), "clients", 2),
            offsets=Log(),
            on_failure=failures.append,
        )
        await stage.assigned(0)
        await stage.publish_all()

    asyncio.run(play())
    assert failures == []
    counted = [row.rest_sends + row.control_sends for row in store.lifts()]
    known = int((ROWS["arm"] != 2).sum())
    assert sum(counted) == 2 * known
    assert all(isinstance(row, ClientLift) for row in store.lifts())


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_share_of_the_pipeline_file_names_the_draw(tmp_path, share):
    """Counts of the same share go on in another worker, those of another begin anew."""
    played(MemoryStore(), str(tmp_path), 1)
    models = [{"name": "send-time", "kind": "send_time", "control_share": share}]
    stage = ClientStage(
        Pipeline.model_validate({"models": models}),
        None,
        deliver=Topics(),
        sink=MemoryStore(),
        snapshots=SnapshotStore(str(tmp_path), "clients", 2),
        offsets=Log(),
        on_failure=lambda _: None,
    )
    _, meta, columns = SnapshotStore(str(tmp_path), "clients", 2).newest(0)
    state = stage.restored(0, meta, columns)
    assert bool(state.lift.counts.any()) is (share == 0.05)
