"""What a worker says of its partitions, against a broker's real logs."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from sendtide.events.errors import Unavailable
from sendtide.monitoring.lag import WINDOW_SAMPLES
from sendtide.stages.health import Health
from sendtide.stages.held import Held
from sendtide.stages.lost_places import LostPlaces
from sendtide.stages.offsets import OffsetLookup
from sendtide.stages.positions import Positions
from sendtide.stages.runtime import PartitionRuntime
from sendtide.transport import Tenure, TopicSpec, create_topics


@pytest.fixture
def lookup(kafka_bootstrap):
    """Asks the embedded broker about a group that has committed nothing."""
    lookup = OffsetLookup({"bootstrap.servers": kafka_bootstrap}, "health")
    yield lookup
    lookup.close()


def filled(bootstrap, records, **producer):
    """A topic of one partition with so many records, in one transaction if one is named."""
    topic = f"health-{uuid4().hex}"
    create_topics({"bootstrap.servers": bootstrap}, [TopicSpec(topic, 1, 1, {})])
    client = Producer({"bootstrap.servers": bootstrap, **producer})
    if producer:
        client.init_transactions(30)
        client.begin_transaction()
    for number in range(records):
        client.produce(topic, f"{number}".encode(), partition=0)
        assert client.flush(30) == 0  # one by one: the embedded broker's log end counts batches
    if producer:
        client.commit_transaction(30)
    return topic


def standing(topic, applied):
    """A stage that holds partition 0 of the topic and has applied so much of it."""
    positions = Positions(applied={topic: applied}, emitted={topic: applied})
    held = Held(0, 1, None, PartitionRuntime(positions, lambda piece, emit: None), Tenure(), {})
    return SimpleNamespace(topics=(topic,), held={0: held}), positions


async def nobody(_):
    """No client whose place could be lost."""
    return {}


def wait_until_answered(lookup, topic):
    """A broker that has just started makes the topic of the groups' offsets first."""
    for _ in range(60):
        with suppress(Unavailable):
            lookup.committed([(topic, 0)])
            return
        time.sleep(0.5)
    pytest.fail("the broker has no coordinator for the group")


def looked(health, times):
    for _ in range(times):
        asyncio.run(health.look())
    [lag] = health.lags
    return lag.status, lag.lag_records


def test_records_that_nobody_applies_are_a_stall_once_the_window_is_full(kafka_bootstrap, lookup):
    """And the stall is over with the first look that finds nothing to do."""
    topic = filled(kafka_bootstrap, 5)
    stage, positions = standing(topic, 2)
    health = Health([stage], lookup, LostPlaces(nobody))
    assert looked(health, WINDOW_SAMPLES - 1) == ("ok", 3)
    assert health.stalled == []
    assert looked(health, 1) == ("stall", 3)
    assert health.stalled == [f"{topic}/0"]
    positions.advance(topic, 5)
    assert looked(health, 1) == ("ok", 0)


@pytest.mark.kafka
def test_the_marker_of_a_transaction_is_no_work(apache_kafka):
    """The log ends one past what can be read: that is no stall, however long it lasts."""
    topic = filled(apache_kafka, 3, **{"transactional.id": f"t-{uuid4().hex}"})
    lookup = OffsetLookup({"bootstrap.servers": apache_kafka}, "health")
    wait_until_answered(lookup, topic)
    stage, _ = standing(topic, 3)
    health = Health([stage], lookup, LostPlaces(nobody))
    assert looked(health, WINDOW_SAMPLES - 1) == ("ok", 1)
    assert looked(health, 2 * WINDOW_SAMPLES) == ("ok", 0)
    lookup.close()


def test_no_answer_is_neither_a_record_nor_the_end_of_the_log(kafka_bootstrap, lookup):
    """What is called empty is not asked about again until it changes."""
    topic = filled(kafka_bootstrap, 5)
    assert lookup.has_record(topic, 0, 4)
    assert not lookup.has_record(topic, 0, 5)
    with pytest.raises(Unavailable, match=r"cannot read none-\w+/0 at 5"):
        lookup.has_record(f"none-{uuid4().hex}", 0, 5)


def test_a_partition_given_away_is_forgotten(kafka_bootstrap, lookup):
    """Its next owner speaks for it; a window kept would accuse it when it comes back."""
    stage, _ = standing(filled(kafka_bootstrap, 5), 0)
    health = Health([stage], lookup, LostPlaces(nobody))
    looked(health, WINDOW_SAMPLES - 1)
    held = stage.held.pop(0)
    asyncio.run(health.look())
    assert health.lags == []
    stage.held[0] = held
    assert looked(health, 1) == ("ok", 5)
