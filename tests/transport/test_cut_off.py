"""A client that knows no broker any more is replaced; one that only has no partitions is not."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException

from sendtide.transport import poller
from sendtide.transport.backpressure import InFlight
from sendtide.transport.cut_off import CutOff
from sendtide.transport.poller import Poller
from sendtide.transport.rebalance import CopartitionGroups


class Broker:
    """Answers or not, as `there` says; `at` is the time."""

    def __init__(self):
        self.there, self.at, self.asked = True, 0.0, 0

    def ask(self):
        self.asked += 1
        if not self.there:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def noticed(broker, cut_off, seconds):
    """How often it is noticed in so many seconds."""
    found = 0
    for _ in range(10 * seconds):
        broker.at += 0.1
        found += cut_off.noticed()
    return found


def test_only_who_lost_its_partitions_and_finds_nobody_is_cut_off():
    """While it has partitions nothing is asked, and one answer in vain is no proof."""
    broker = Broker()
    cut_off = CutOff(broker.ask, lambda: broker.at)
    assert noticed(broker, cut_off, 60) == broker.asked == 0
    cut_off.lost()
    assert noticed(broker, cut_off, 60) == 0
    assert broker.asked > 10
    broker.there = False
    assert 5 < noticed(broker, cut_off, 60) < 12  # a new client each time, until one finds it
    broker.there = True
    cut_off.lost()
    assert noticed(broker, cut_off, 4) == 0
    broker.there = False
    assert noticed(broker, cut_off, 4) == 0
    broker.there = True
    assert noticed(broker, cut_off, 60) == 0
    cut_off.back()
    broker.there, broker.asked = False, 0
    assert noticed(broker, cut_off, 60) == broker.asked == 0


class Client:
    """A consumer: the first of them loses its partitions and knows no broker from then on."""

    made: ClassVar[list[Client]] = []

    def __init__(self, config, logger):
        self.config, self.closed = config, False
        self.given = False
        self.made.append(self)

    def subscribe(self, topics, on_assign, on_revoke, on_lost):
        self.topics, self.on_assign, self.on_lost = topics, on_assign, on_lost

    def list_topics(self, *_):
        if self is self.made[0]:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def consume(self, *_):
        if not self.given:
            self.given = True
            self.on_assign(self, [poller.Position("sends", 0)])
            if self is self.made[0]:
                self.on_lost(self, [poller.Position("sends", 0)])
        time.sleep(0.001)
        return []

    def commit(self, offsets, asynchronous):
        """Send it, and never hear of it."""

    def incremental_assign(self, _):
        """Note."""

    incremental_unassign = incremental_assign

    def consumer_group_metadata(self):
        return self.made.index(self)

    def close(self):
        self.closed = True


class NoFetches:
    """Of a client that has no handle."""

    active = False

    def __init__(self, client, on_error):
        self.close = client.close

    def forget(self, partitions):
        """Nothing was gathered."""


class Listener:
    """Counts."""

    def __init__(self):
        self.told, self.error = [], None

    def fetched(self, _):
        raise AssertionError

    def assigned(self, partitions):
        self.told.append(("assigned", partitions))

    def revoked(self, _) -> Future[None] | None:
        raise AssertionError

    def lost(self, partitions):
        self.told.append(("lost", partitions))

    def failed(self, error):
        self.error = error


def test_another_client_takes_the_place_of_one_that_is_cut_off(monkeypatch):
    """It joins as another member; commits that nobody will answer any more are told so."""
    monkeypatch.setattr(poller, "Consumer", Client)
    monkeypatch.setattr(poller, "FetchQueue", NoFetches)
    monkeypatch.setattr("sendtide.transport.cut_off._PAUSE_S", 0.05)
    listener = Listener()
    polled = Poller({"group.id": "g"}, CopartitionGroups(()), InFlight(1, 1, 1), listener)
    answer = polled.commit({("sends", 0): 5})
    polled.subscribe(["sends"])
    with pytest.raises(KafkaException, match="replaced"):
        answer.result(10)
    deadline = time.monotonic() + 10
    while len(listener.told) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    place = {("sends", 0)}
    assert listener.told == [("assigned", place), ("lost", place), ("assigned", place)]
    assert polled.group_metadata().result(10) == 1
    assert polled.close(10)
    assert [client.closed for client in Client.made] == [True, True]
    assert Client.made[1].topics == ["sends"]
    assert listener.error is None
