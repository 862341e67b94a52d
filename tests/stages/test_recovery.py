"""A partition starts from a snapshot after which everything can still be sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sendtide.events.errors import CorruptData
from sendtide.models import ModelDirectory
from sendtide.pipeline import Pipeline
from sendtide.sinks import MemoryStore
from sendtide.stages.recipient import RecipientStage
from sendtide.stages.recovery import recovered
from sendtide.state import SnapshotStore
from sendtide.transport import Outputs, Tenure, TopicPartition

from .test_publishing import Log, chunk, stream


def stands_at(store, committed, broken=()):
    """Offset of the snapshot that is taken, None if none is."""

    def restore(_number, meta, columns):
        if meta["at"] in broken:
            raise CorruptData("of another build")
        return columns["at"]

    found = recovered("recipients", 0, store, restore, committed)
    if found is None:
        return None
    manifest, state, _ = found
    assert manifest.offsets["sends"] == state[0]
    return int(state[0])


@pytest.fixture
def store(tmp_path):
    """Three snapshots."""
    snapshots = SnapshotStore(str(tmp_path), "recipients", 3)
    for at in (10, 20, 30):
        snapshots.write(0, 1, {"sends": at, "engagement": 5}, {"at": at}, {"at": np.array([at])})
    return snapshots


def test_the_newest_that_can_be_read(store):
    """Whether or not the group has caught up with it: then a snapshot is the truth."""
    assert stands_at(store, None) == 30
    assert stands_at(store, None, broken={30}) == 20
    assert stands_at(store, None, broken={10, 20, 30}) is None


def test_the_newest_that_is_not_ahead_of_the_group(store, caplog):
    """What lies between the group and a snapshot could never be sent again."""
    assert stands_at(store, {"sends": 30, "engagement": 5}) == 30
    assert stands_at(store, {"sends": 29, "engagement": 5}) == 20
    assert stands_at(store, {"sends": 29}, broken={20}) == 10
    assert stands_at(store, {}) == 30  # a new group, or one whose offsets have expired
    assert not any(record.levelno == logging.ERROR for record in caplog.records)


def test_a_group_behind_all_snapshots_is_told_of(store, caplog):
    """State is worth more than outputs: it is kept, and what may be missing is said."""
    assert stands_at(store, {"sends": 9}) == 30
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "may be missing for good" in error.getMessage()


@pytest.mark.parametrize("exactly_once", [True, False])
def test_outputs_that_the_broker_has_lost_are_sent_again(tmp_path, exactly_once):
    """A snapshot was written after they had been confirmed; then the group went back."""

    class Behind(Log):
        at = 2

        def committed(self, _: Any) -> dict[str, int]:
            return {"email.sends": self.at}

    sent: list[Mapping[TopicPartition, int]] = []

    async def deliver(_outputs: Outputs, _tenure: Tenure, offsets: Any) -> None:
        sent.append(offsets)

    def stage(log):
        return RecipientStage(
            Pipeline(),
            ModelDirectory(),
            deliver=deliver,
            sink=MemoryStore(),
            snapshots=SnapshotStore(str(tmp_path), "recipients", 2),
            offsets=log,
            on_failure=pytest.fail,
            exactly_once=exactly_once,
        )

    async def play() -> None:
        log = Behind()
        first = stage(log)
        log.at = 0
        await first.assigned(0)
        for number in range(2):
            await first.consume(stream(chunk(number)))
            log.at = number + 1
            await first.write_down(first.held[0])
        first.lost(0)
        log.at = 1  # as if the transaction of the second had never been
        again = stage(log)
        sent.clear()
        start = (await again.assigned(0))["email.sends"]
        assert start == (1 if exactly_once else 2)
        for number in range(start, 2):
            await again.consume(stream(chunk(number)))
        await again.held[0].delivered()

    asyncio.run(play())
    moved_up: dict[TopicPartition, int] = {}
    assert sent == [{("email.sends", 0): 2} if exactly_once else moved_up]
