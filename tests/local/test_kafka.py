"""Apache Kafka on loopback: transactions, three nodes, data that stays, no orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from local.waiting import lives, soon
from sendtide.events.errors import ConfigurationError
from sendtide.local import fetch_kafka, free_port, start_kafka, stop_kafka
from servers import require

JAVA = {"package": "default-jre-headless maven"}


def read(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first committed values of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"reader-{topic}",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, timeout=20)]
    finally:
        consumer.close()


@pytest.mark.kafka
def test_only_committed_transactions_are_read(apache_kafka):
    """An aborted transaction's records are invisible to who reads committed ones."""
    topic = "local.transactions"
    admin = AdminClient({"bootstrap.servers": apache_kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    producer = Producer({"bootstrap.servers": apache_kafka, "transactional.id": "local"})
    producer.init_transactions(30)
    for value, keep in ((b"aborted", False), (b"committed", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(10)
        (producer.commit_transaction if keep else producer.abort_transaction)(30)
    assert read(apache_kafka, topic, 1) == [b"committed"]


@pytest.mark.kafka
def test_topics_are_not_made_by_mistake(apache_kafka):
    """A misspelt topic is an error, not a new topic."""
    topics = AdminClient({"bootstrap.servers": apache_kafka}).list_topics("mispelt", timeout=10)
    assert topics.topics["mispelt"].error is not None


@pytest.mark.kafka
def test_three_nodes_outlive_one_and_the_data_outlives_them(tmp_path):
    """With three copies a node's death costs nothing; a new start on the folder has all."""
    require("java", "mvn", **JAVA)
    servers = start_kafka(tmp_path, brokers=3)
    try:
        bootstrap = ",".join(server.address for server in servers)
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic("kept", 1, 3)])["kept"].result(20)
        servers[0].process.kill()
        producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
        producer.produce("kept", b"value")
        assert producer.flush(60) == 0
    finally:
        stop_kafka(servers)
    assert not any(server.running for server in servers)
    servers = start_kafka(tmp_path, brokers=3)
    try:
        assert read(servers[0].address, "kept", 1) == [b"value"]
    finally:
        stop_kafka(servers)


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_command_leaves_no_orphan(number, tmp_path):
    """`scripts/kafka start` prints its address, and whatever ends it ends the broker."""
    require("java", "mvn", **JAVA)
    port = free_port()
    command = [sys.executable, "-m", "sendtide.local", "start", "--port", str(port)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert running.stdout is not None
    assert running.stdout.readline() == f"bootstrap=127.0.0.1:{port}\n"
    file = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    children = [int(word) for word in file.read_text().split()]
    assert len(children) == 1
    running.send_signal(number)
    assert running.wait(40) == (-number if number == signal.SIGKILL else 0)
    assert soon(lambda: not any(map(lives, children)), within_s=2.0)
    if number != signal.SIGKILL:
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("written", ["9.1.0", None])
def test_data_of_a_newer_kafka_is_refused(written, tmp_path):
    """Before a broker starts, which would only say that it cannot read a record."""
    require("java", "mvn", package="default-jre-headless maven")
    (tmp_path / "cluster-id").write_text("AAAAAAAAAAAAAAAAAAAAAA")
    if written:
        (tmp_path / "kafka-version").write_text(written)
    with pytest.raises(ConfigurationError, match="name another folder"):
        start_kafka(tmp_path)


def test_without_maven_it_says_what_to_install(tmp_path, monkeypatch):
    """Nothing in the cache and no Maven on the PATH: the sentence names both packages."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"mvn .*Java 17 .*apt-get install"):
        fetch_kafka()


def test_a_fetch_that_fails_leaves_nothing_that_looks_fetched(tmp_path, monkeypatch):
    """Maven's last words are told; the next call tries again."""
    for program in ("mvn", "java"):
        (tmp_path / program).write_text("#!/bin/sh\nmkdir libs; echo no such artifact; exit 1\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ConfigurationError, match="no such artifact"):
        fetch_kafka()
    assert not list((tmp_path / "cache" / "sendtide").iterdir())
