"""Outputs and offsets are stored together, once, in order, whatever becomes of a transaction."""

from __future__ import annotations

import asyncio
import time

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.transport import Record, Tenure, probe_transactions
from sendtide.transport.errors import (
    RecordTooLargeError,
    TransactionAbortedError,
    TransportError,
    WithdrawnError,
)
from sendtide.transport.transactional_client import patiently
from sendtide.transport.transactions import TransactionWriter

PLACE = ("sends", 0)


class Log:
    """A broker of one log and one group: `fates` says what becomes of each transaction.

    stored: as it is said. aborted: nothing is stored. unheard: it is stored, and the answer lost.
    too large: nothing is stored, and never will be.
    open: it is confirmed, and its end not written; the next end of one with its topics decides it.
    undecided: as open, and not confirmed; the group's offsets are not told until it is decided.
    It is the client and the membership of a writer at once.
    """

    def __init__(self, fates=()):
        self.fates = list(fates)
        self.records, self.group, self.transactions = [], {}, 0
        self.open: list[tuple[str, bytes]] = []
        self.moved: dict[tuple[str, int], int] = {}

    def ready(self):
        """Begin."""

    def _add(self, outputs, offsets):
        self.open += [(topic, record.value) for topic, records in outputs for record in records]
        for place, offset in offsets.items():
            assert offset >= self.group.get(place, 0), "the group's offset fell"
            self.moved[place] = offset

    def _end(self, topics, *, committed):
        ends = [pair for pair in self.open if pair[0] in topics]
        self.open = [pair for pair in self.open if pair[0] not in topics]
        if committed:
            self.records += [number for _, number in ends]
            self.group |= self.moved
            self.transactions += 1
        self.moved = {}

    def write(self, outputs, offsets, group_metadata):
        assert group_metadata == "generation"
        fate = self.fates.pop(0) if self.fates else "stored"
        self._add(outputs, offsets)
        if fate not in ("open", "undecided"):
            self._end(dict(outputs), committed=fate in ("stored", "unheard"))
        if fate == "too large":
            raise RecordTooLargeError(fate)
        if fate not in ("stored", "open"):
            raise TransactionAbortedError(fate)

    def renounce(self, outputs, offsets, group_metadata):
        assert (group_metadata, bool(offsets)) == ("generation", True)
        self._add(outputs, offsets)
        self._end(dict(outputs), committed=False)

    def close(self):
        """End."""

    async def group_metadata(self):
        return "generation"

    async def committed(self, partitions):
        if self.moved:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "late"))
        return {place: self.group.get(place) for place in partitions}


def value(number):
    return Record(b"%d" % number)


def play(log, scenario, **options):
    """Run with a writer, whose waits after an abort are cut short."""

    async def run():
        writer = TransactionWriter(log, log, interval_s=0.0, **options)
        await writer.start()
        try:
            return await scenario(writer)
        finally:
            await writer.stop()

    return asyncio.run(run())


async def write_two(writer):
    """One after the other, of one tenure."""
    tenure = Tenure()
    for number in (1, 2):
        await writer.write({"out": [value(number)]}, tenure, {PLACE: number})


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """An aborted transaction is written again without a pause, and what is not told asked again."""
    monkeypatch.setattr("sendtide.transport.transactions._RETRY_S", 0.0)
    monkeypatch.setattr("sendtide.transport.transactions._LONGEST_RETRY_S", 0.0)


@settings(max_examples=60, deadline=None)
@given(
    fates=st.lists(st.sampled_from(["stored", "aborted", "unheard", "undecided"]), max_size=12),
    works=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    largest=st.integers(1, 6),
)
def test_every_work_is_stored_once_and_in_order(fates, works, largest):
    """Aborted, or stored without anybody hearing of it: works with an offset come once."""
    log = Log(fates)
    expected = [number for number, count in enumerate(works) for _ in range(count)]

    async def scenario(writer):
        tenure = Tenure({PLACE: 0})
        queued = [
            asyncio.ensure_future(writer.write({"out": [value(n)] * count}, tenure, {PLACE: n + 1}))
            for n, count in enumerate(works)
        ]
        await asyncio.gather(*queued)
        assert tenure.committed == log.group == {PLACE: len(works)}

    play(log, scenario, max_bytes=largest)
    assert log.records == [b"%d" % number for number in expected]


def test_running_results_share_the_fate_of_what_they_go_with():
    """They move no offset; that others of the same transaction were stored says that they were."""
    log = Log(["unheard"])

    async def scenario(writer):
        tenure = Tenure()
        await asyncio.gather(
            writer.write({"metrics": [value(1)]}, tenure),
            writer.write({"out": [value(2)]}, tenure, {PLACE: 1}),
        )

    play(log, scenario)
    assert log.records == [b"1", b"2"]


def test_what_a_broker_keeps_as_undecided_is_decided():
    """Or whoever asks for the group's offsets would wait for ever, this writer included.

    Its records are decided too, or the next transaction would store them with its own.
    """
    log = Log(["stored", "undecided"])

    play(log, write_two)
    assert (log.records, log.group) == ([b"1", b"2"], {PLACE: 2})
    assert not log.open


@pytest.mark.parametrize("partition", [0, 1])
def test_a_confirmed_transaction_that_is_lost_ends_the_writer(partition):
    """What went with it is not in the log, and the state that made it has gone on.

    It is noticed by what is aborted next, though that be of another partition.
    """
    log = Log(["stored", "open", "aborted"])
    tenures = [Tenure(), Tenure()]
    if partition == 0:
        tenures[1] = tenures[0]

    async def scenario(writer):
        for number in (1, 2):
            await writer.write({"out": [value(number)]}, tenures[0], {PLACE: number})
        with pytest.raises(TransportError, match="stands at 1 of sends/0, and stood at 2"):
            await writer.write({"out": [value(3)]}, tenures[1], {("sends", partition): 3})

    play(log, scenario)
    assert (log.records, log.group) == ([b"1"], {PLACE: 1})


def test_what_another_owner_does_is_no_loss():
    """A tenure that is over says nothing of where the group must stand."""
    log = Log(["stored", "stored", "aborted"])

    async def scenario(writer):
        gone = Tenure()
        await writer.write({"out": [value(1)]}, gone, {PLACE: 5})
        await writer.write({"out": [value(2)]}, Tenure(), {("sends", 1): 1})
        gone.over, log.group[PLACE] = True, 3
        await writer.write({"out": [value(3)]}, Tenure(), {("sends", 2): 1})

    play(log, scenario)
    assert log.records == [b"1", b"2", b"3"]


def test_a_coordinator_that_was_replaced_is_asked_again():
    """It may tell what was true before it was paused."""

    class Stale(Log):
        late = 1

        async def committed(self, partitions):
            found = await super().committed(partitions)
            self.late -= 1
            return found if self.late < 0 else {PLACE: 0}

    log = Stale(["stored", "aborted"])

    play(log, write_two)
    assert (log.records, log.group) == ([b"1", b"2"], {PLACE: 2})


def test_a_group_behind_its_snapshot_has_lost_nothing():
    """A tenure begins where its snapshot stands; the first transaction moves the group there."""
    log = Log(["stored", "aborted"])

    async def scenario(writer):
        await writer.write({"out": [value(1)]}, Tenure(), {PLACE: 1})
        await writer.write({"out": [value(2)]}, Tenure({PLACE: 7}), {PLACE: 8})

    play(log, scenario)
    assert (log.records, log.group) == ([b"1", b"2"], {PLACE: 8})


def test_a_record_that_is_never_taken_ends_the_writer():
    """It is not tried again and again: whoever waits is told, and so is whoever comes later."""
    log = Log(["stored", "too large"])

    async def scenario(writer):
        await writer.write({"out": [value(1)]}, Tenure(), {PLACE: 1})
        with pytest.raises(RecordTooLargeError):
            await writer.write({"out": [value(2)]}, Tenure(), {PLACE: 2})
        with pytest.raises(TransportError, match="cannot be written any more"):
            await writer.write({"out": [value(3)]}, Tenure(), {PLACE: 3})

    play(log, scenario)
    assert (log.records, log.group) == ([b"1"], {PLACE: 1})


def test_what_gathers_during_a_transaction_goes_in_the_next():
    """One begin and one commit for many works, or none could keep up."""
    log = Log()

    async def scenario(writer):
        tenure = Tenure()
        await asyncio.gather(*(writer.write({"out": [value(n)]}, tenure) for n in range(100)))

    play(log, scenario)
    assert len(log.records) == 100
    assert log.transactions == 1


def test_what_was_queued_for_a_partition_that_is_gone_is_withdrawn():
    """Nothing of it is stored, and its offsets are not; the others are."""
    gone, kept = Tenure({PLACE: 3}), Tenure({("sends", 1): 5})

    class Taken(Log):
        def write(self, *arguments):
            gone.over = gone.over or bool(self.fates)
            super().write(*arguments)

    log = Taken(["aborted"])

    async def scenario(writer):
        lost = asyncio.ensure_future(writer.write({"out": [value(1)]}, gone, {PLACE: 9}))
        stays = asyncio.ensure_future(writer.write({"out": [value(2)]}, kept, {("sends", 1): 8}))
        await stays
        with pytest.raises(WithdrawnError, match="taken away"):
            await lost

    play(log, scenario)
    assert log.records == [b"2"]
    assert log.group == {("sends", 1): 8}


def test_the_group_never_falls_behind_where_its_outputs_stand():
    """A replay finishes offsets that were committed long ago."""
    log = Log()

    async def scenario(writer):
        await writer.write({}, Tenure({PLACE: 50}), {PLACE: 7})

    play(log, scenario)
    assert log.group == {PLACE: 50}


def test_an_error_that_no_repetition_heals_ends_every_writer():
    """Those that wait are told, and those that come later."""
    log = Log()

    def refuse(*_):
        raise TransportError("refused")

    log.write = refuse

    async def scenario(writer):
        for _ in range(2):
            with pytest.raises(TransportError, match="refused"):
                await writer.write({"out": [value(1)]}, Tenure())

    play(log, scenario)


def test_a_request_is_made_again_only_while_that_helps():
    """What needs an abort, or is for good, is handed on at once; the rest within the patience."""

    def error(**properties):
        return KafkaException(KafkaError(KafkaError._TIMED_OUT, "late", **properties))

    calls = []

    def fails_twice(wait_s):
        calls.append(wait_s)
        if len(calls) < 3:
            raise error(retriable=True)

    patiently(fails_twice)
    assert len(calls) == 3

    for properties in ({"retriable": False}, {"retriable": True, "txn_requires_abort": True}):
        with pytest.raises(KafkaException):
            patiently(lambda _, properties=properties: (_ for _ in ()).throw(error(**properties)))
    began = time.monotonic()
    with pytest.raises(KafkaException):
        patiently(lambda _: (_ for _ in ()).throw(error(retriable=True)), 0.05)
    assert time.monotonic() - began >= 0.05


def test_the_probe_tells_whether_aborted_records_are_hidden(broker):
    """The embedded broker shows them; Apache Kafka does not."""
    found = probe_transactions(broker.config, broker.topic(1, "probe"))
    assert bool(found) is not broker.waits_for_members, found
