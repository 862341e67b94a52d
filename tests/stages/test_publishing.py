"""What readers see of a partition: nothing counted while a write is under way may be left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from confluent_kafka import Message

from sendtide.events.errors import Unavailable
from sendtide.events.messages import SendEvent
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.recipients.persistence import _VERSION
from sendtide.sinks import MemoryStore
from sendtide.stages.recipient import RecipientStage
from sendtide.state import SnapshotStore
from sendtide.transport import Chunk, RecordBatch, TopicMismatchError

RECIPIENT = "00112233445566778899aabbccddeeff"
NOW_MS = 1_790_000_000_000


class Store(MemoryStore):
    """Does `before` once, ahead of the next write of totals; `ahead`, of recipients; `beside`, of
    clients' counts.
    """

    before: Callable[[], None] | None = None
    beside: Callable[[], None] | None = None
    ahead: Callable[[], None] | None = None

    def write_recipients(self, *arguments: Any) -> None:
        """As the parent."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None:
            ahead()
        super().write_recipients(*arguments)

    def write_counts(self, owner: Any, rows: Any) -> None:
        """As the parent."""
        if rows[0].client_id is None:
            before, self.before = self.before, None
        else:
            before, self.beside = self.beside, None
        if before is not None:
            before()
        super().write_counts(owner, rows)


class Log:
    """The group has committed nothing, and the log begins at 0 and is long."""

    def committed(self, _: Any) -> dict[str, int]:
        """Nothing."""
        return {}

    identity = "1"

    def log(self, partitions: Any) -> dict[str, tuple[int, int]]:
        """From 0 on."""
        return {topic: (0, 1_000) for topic, _ in partitions}

    def identities(self, topics: Any) -> dict[str, str]:
        """The same of all."""
        return dict.fromkeys(topics, self.identity)


async def deliver(*_: Any) -> None:
    """Store everything at once."""


def chunk(offset: int) -> Chunk:
    """One send."""
    event = SendEvent(
        source="esp",
        id=f"send-{offset}",
        client_id="c1",
        recipient_id=RECIPIENT,
        event_time_ms=NOW_MS + offset,
    )
    message = Message(
        topic="email.sends",
        partition=0,
        offset=offset,
        key=f"c1:{RECIPIENT}".encode(),
        value=msgspec.json.encode(event),
        timestamp=(1, NOW_MS + offset),
    )
    return Chunk("email.sends", 0, RecordBatch.of([message]), 1, lambda _: None)


async def stream(*chunks: Chunk) -> Any:
    """Chunks for an agent."""
    for one in chunks:
        yield one


def run(scenario: Callable[[RecipientStage, Store], Coroutine[Any, Any, None]], folder: str) -> int:
    """Play with one partition; return the sends that readers are told of at the end."""
    store, failures = Store(), []

    async def play() -> None:
        stage = RecipientStage(
            Pipeline(),
            ModelDirectory(),
            deliver=deliver,
            sink=store,
            snapshots=SnapshotStore(folder, "recipients", 2),
            offsets=Log(),
            on_failure=failures.append,
        )
        await stage.assigned(0)
        await stage.consume(stream(chunk(0)))
        await scenario(stage, store)
        await stage.publish_all()

    asyncio.run(play())
    assert failures == []
    applied = store.totals()["email.sends"]["applied"]
    assert store.counts("c1")["email.sends"]["applied"] == applied
    return applied


def test_what_is_counted_during_a_write_is_published_by_the_next(tmp_path):
    """Otherwise the last events before a quiet hour would never be seen."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        loop = asyncio.get_running_loop()
        more = lambda: stage.consume(stream(chunk(1)))  # noqa: E731
        store.before = lambda: asyncio.run_coroutine_threadsafe(more(), loop).result(5)
        await stage.publish_all()

    assert run(scenario, str(tmp_path)) == 2


@pytest.mark.parametrize("when", ["before", "beside"])
def test_counts_that_could_not_be_written_are_written_later(tmp_path, when):
    """A server that is away for a moment loses no client's counts."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        def away() -> None:
            raise Unavailable("away")

        setattr(store, when, away)
        await stage.publish_all()
        assert store.counts("c1") == {}

    assert run(scenario, str(tmp_path)) == 1


def test_clients_counts_rest_after_a_write_that_took_long(tmp_path):
    """Totals do not wait for them, and a snapshot waits for all."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        def told() -> tuple[int, int]:
            tables = store.totals(), store.counts("c1")
            total, client = (table["email.sends"]["applied"] for table in tables)
            return total, client

        store.beside = lambda: time.sleep(1.0)
        await stage.publish_all()
        await stage.consume(stream(chunk(1)))
        await stage.publish_all()
        assert told() == (2, 1)
        await stage.write_down_all()
        assert told() == (2, 2)

    assert run(scenario, str(tmp_path)) == 2


def test_a_window_that_ends_in_a_rest_takes_no_reader_its_lags(tmp_path):
    """Freshness is written before the window's lags are forgotten."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        store.beside = lambda: time.sleep(1.0)
        await stage.publish_all()
        await stage.consume(stream(chunk(1)))
        stage._window_of[0] -= stage._pipeline.windows.size_ms
        await stage.publish_all()
        stage._count_at = 0.0
        await stage.publish_all()
        [row] = store.freshness("c1")
        assert row.lag_p50_s is not None

    assert run(scenario, str(tmp_path)) == 2


def test_a_failure_rests_too_but_not_for_long(tmp_path):
    """A server that is slow to refuse is not asked five times a second; nor left alone for long."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        def away() -> None:
            time.sleep(1.0)
            raise Unavailable("away")

        store.beside = away
        await stage.publish_all()
        assert 0.5 < stage._count_at - time.monotonic() <= 1.0
        stage._count_at = 0.0

    assert run(scenario, str(tmp_path)) == 1


def test_a_snapshot_waits_for_what_another_attempt_has_taken_to_publish(tmp_path):
    """Had that failed after the snapshot, a crash would leave its recipients stale for good."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        loop, seen = asyncio.get_running_loop(), []
        later: list[asyncio.Task[None]] = []

        def away() -> None:
            begin = lambda: later.append(loop.create_task(stage.write_down_all()))  # noqa: E731
            loop.call_soon_threadsafe(begin)
            time.sleep(0.2)
            seen.append(stage._snapshots.newest(0))
            raise Unavailable("away")

        store.ahead = away
        await stage.publish_all()
        await later[0]
        assert seen == [None]
        assert stage._snapshots.newest(0) is not None
        assert store.recipient("c1", RECIPIENT) is not None

    assert run(scenario, str(tmp_path)) == 1


def emptied(store: Store) -> None:
    """A server that was flushed."""
    for held in vars(store).values():
        if isinstance(held, dict):
            held.clear()


def test_a_server_that_was_emptied_is_filled_again_though_nothing_happens(tmp_path):
    """Recipients that no event touches would be missing until their next one."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        await stage.publish_all()
        emptied(store)
        await stage.publish_all()
        assert store.recipient("c1", RECIPIENT) is not None

    assert run(scenario, str(tmp_path)) == 1


def test_a_server_emptied_between_two_owners_is_filled_by_the_next(tmp_path):
    """Its snapshot remembers what the server had been given."""

    async def scenario(stage: RecipientStage, store: Store) -> None:
        await stage.revoked(0)
        emptied(store)
        await stage.assigned(0)
        await stage.publish_all()
        assert store.recipient("c1", RECIPIENT) is not None

    assert run(scenario, str(tmp_path)) == 1


def test_a_topic_that_was_made_again_is_refused(tmp_path):
    """Its new records would come at offsets that the state takes for known."""

    async def scenario(stage: RecipientStage, _: Store) -> None:
        await stage.publish_all()
        await stage.revoked(0)
        stage._offsets.identity = "2"
        with pytest.raises(TopicMismatchError, match=r"email\.engagements.*made again"):
            await stage.assigned(0)
        stage._offsets.identity = "1"
        await stage.assigned(0)

    run(scenario, str(tmp_path))


def test_what_was_just_taken_over_catches_up_before_it_is_written_down(tmp_path):
    """A large state takes seconds to copy, and its snapshot was read a moment ago."""

    async def scenario(stage: RecipientStage, _: Store) -> None:
        await stage.write_down_all(every_s=60.0)
        assert stage._snapshots.newest(0) is None
        await stage.write_down_all()
        assert stage._snapshots.newest(0) is not None

    run(scenario, str(tmp_path))


@pytest.mark.parametrize(
    ("changed", "missing", "reason"),
    [
        ({"version": 0}, "", f"is of (version, partition) (0, 0), not ({_VERSION}, 0)"),
        ({}, "newest", "does not fit this build"),
    ],
)
def test_a_snapshot_of_another_build_is_not_used(tmp_path, caplog, changed, missing, reason):
    """Its columns mean something else: the one before it is used, or all is replayed."""

    async def scenario(stage: RecipientStage, _: Store) -> None:
        await stage.publish_all()
        await stage.write_down_all()
        manifest, meta, columns = stage._snapshots.newest(0)
        state = {**meta["state"], **changed}
        kept = {name: column for name, column in columns.items() if name != missing}
        stage._snapshots.write(0, manifest.epoch, {}, {**meta, "state": state}, kept)
        await stage.revoked(0)
        assert (await stage.assigned(0))["email.sends"] == 1

    assert run(scenario, str(tmp_path)) == 1
    assert reason in caplog.text
