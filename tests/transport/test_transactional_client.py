"""The blocking client of transactions, against Apache Kafka."""

from __future__ import annotations

import signal
from uuid import uuid4

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from sendtide.local import start_kafka, stop_kafka
from sendtide.transport import (
    BinaryColumn,
    ConfigurationError,
    KeyedRecords,
    Record,
    TopicSpec,
    create_topics,
)
from sendtide.transport.errors import RecordTooLargeError, TransactionAbortedError
from sendtide.transport.transactional_client import TransactionalClient
from servers import require

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """A broker that may be paused."""
    require("java", "mvn", package="default-jre-headless maven")
    servers = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield servers[0]
    servers[0].process.send_signal(signal.SIGCONT)
    stop_kafka(servers)


@pytest.fixture
def group(kafka):
    """A member that commits through transactions; its topic has one partition."""
    topic = f"outputs-{uuid4().hex}"
    create_topics({"bootstrap.servers": kafka.address}, [TopicSpec(topic, 1)])
    settings = {"bootstrap.servers": kafka.address, "group.id": topic, "enable.auto.commit": False}
    member = Consumer({**settings, "isolation.level": "read_committed", "enable.partition.eof": 1})
    yield topic, member
    member.close()


def client_of(kafka, name, **more):
    settings = {"bootstrap.servers": kafka.address, "transactional.id": name, **more}
    return TransactionalClient({**settings, "transaction.timeout.ms": 6_000})


def write(client, group, value, offset, size=1):
    topic, member = group
    client.write(
        [(topic, [Record(value * size)])], {(topic, 0): offset}, member.consumer_group_metadata()
    )


def stored(group):
    """What readers of committed records get, and where the group stands."""
    topic, member = group
    member.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values = []
    while (message := member.poll(20.0)) is not None and message.error() is None:
        values.append(message.value())
    [position] = member.committed([TopicPartition(topic, 0)], timeout=10)
    return values, position.offset


def written(kafka, topic):
    """What readers get that do not care for transactions."""
    settings = {"bootstrap.servers": kafka.address, "group.id": "any", "enable.partition.eof": 1}
    reader = Consumer({**settings, "isolation.level": "read_uncommitted"})
    reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    values = []
    while (message := reader.poll(20.0)) is not None and message.error() is None:
        values.append(message.value())
    reader.close()
    return values


def test_records_and_offsets_are_stored_together_or_not_at_all(kafka, group):
    """One too large for the broker takes the offsets with it; the next transaction is a new one."""
    client = client_of(kafka, uuid4().hex)
    write(client, group, b"a", 3)
    with pytest.raises(RecordTooLargeError, match=r"message\.max\.bytes"):
        write(client, group, b"b", 5, size=900_000 + (1 << 20))
    assert stored(group) == ([b"a"], 3)
    write(client, group, b"c", 7)
    assert stored(group) == ([b"a", b"c"], 7)
    client.close()


def test_columns_are_stored_with_the_offsets_or_not_at_all(kafka, group):
    """Many more than the client's queue holds; one of them too large takes all of them with it."""
    few = {"queue.buffering.max.messages": 50, "linger.ms": 5}
    client, (topic, member) = client_of(kafka, uuid4().hex, **few), group

    def write_columns(values, offset):
        keys = BinaryColumn.of([b"k"] * len(values))
        outputs = [(topic, KeyedRecords(BinaryColumn.of(values), keys))]
        client.write(outputs, {(topic, 0): offset}, member.consumer_group_metadata())

    values = [b"%d" % number for number in range(400)]
    write_columns(values, 3)
    with pytest.raises(RecordTooLargeError, match=r"message\.max\.bytes"):
        write_columns([b"never", b"x" * (2 << 20), b"never"], 5)
    assert stored(group) == (values, 3)
    write_columns([b"c"], 7)
    assert stored(group) == ([*values, b"c"], 7)
    client.close()


def test_a_record_the_topic_does_not_take_is_told_apart(kafka, group):
    """The client would send it; the broker's limit for the topic is lower."""
    client, (topic, member) = client_of(kafka, uuid4().hex), group
    small = f"small-{topic}"
    limit = TopicSpec(small, 1, 1, {"max.message.bytes": "10000"})
    create_topics({"bootstrap.servers": kafka.address}, [limit])
    large = Record(uuid4().bytes * 2_000)
    with pytest.raises(RecordTooLargeError, match=r"max\.message\.bytes of the topics"):
        client.write([(small, [large])], {(topic, 0): 5}, member.consumer_group_metadata())
    write(client, group, b"c", 7)
    assert stored(group) == ([b"c"], 7)
    client.close()


def test_what_is_renounced_is_not_stored_and_work_goes_on(kafka, group):
    """No record is read, the offset does not move, and the next transaction is a new one."""
    client, (topic, member) = client_of(kafka, uuid4().hex), group
    write(client, group, b"a", 3)
    outputs = [(topic, [Record(b"never")])]
    client.renounce(outputs, {(topic, 0): 9}, member.consumer_group_metadata())
    assert stored(group) == ([b"a"], 3)
    write(client, group, b"b", 5)
    assert stored(group) == ([b"a", b"b"], 5)
    # It came, or the end of the transaction would not have been written to its partition.
    assert b"never" in written(kafka, topic)
    client.close()


def test_two_bearers_of_one_name_are_told_to_have_two(kafka, group):
    """Each fences the other off; if it goes on and on, whoever named them made a mistake."""
    name = uuid4().hex
    one, other = client_of(kafka, name), client_of(kafka, name)
    write(one, group, b"a", 1)
    with pytest.raises(ConfigurationError, match="a name of its own"):  # noqa: PT012
        for number in range(2, 20):
            for client in (other, one):
                try:
                    write(client, group, b"x", number)
                except TransactionAbortedError:
                    write(client, group, b"x", number)
    one.close()
    other.close()


def test_a_broker_that_was_away_in_a_transaction_is_written_to_again(kafka, group):
    """Longer than every request waits; nothing of what failed is stored."""
    client = client_of(kafka, uuid4().hex)
    write(client, group, b"a", 1)
    kafka.process.send_signal(signal.SIGSTOP)
    with pytest.raises(TransactionAbortedError):
        write(client, group, b"b", 2)
    kafka.process.send_signal(signal.SIGCONT)
    client.ready()
    write(client, group, b"c", 3)
    values, position = stored(group)
    assert (values, position) == ([b"a", b"c"], 3)
    client.close()
