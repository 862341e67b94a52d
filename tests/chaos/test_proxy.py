"""Every toxic does to real sockets what its name says, can be switched off, and is counted."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from sendtide.chaos import (
    Bandwidth,
    FaultProxy,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
)


@pytest.fixture
def echo():
    """Port of a server that sends back what it gets, connection by connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk(connection):
        with closing(connection), suppress(OSError):
            while data := connection.recv(65_536):
                connection.sendall(data)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=talk, args=server.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo):
    """A proxy before the echo."""
    with FaultProxy(echo) as running:
        yield running


def connected(proxy):
    client = socket.create_connection(("127.0.0.1", proxy.port), timeout=5.0)
    return closing(client)


def answer(client, data):
    """What comes back for `data`, and after how many seconds and in how many reads."""
    began = time.perf_counter()
    client.sendall(data)
    found, reads = b"", 0
    while len(found) < len(data):
        part = client.recv(1 << 20)
        if not part:
            break
        found, reads = found + part, reads + 1
    return found, time.perf_counter() - began, reads


def test_without_toxics_every_byte_passes_unchanged(proxy):
    """Large data, both ways, is what was sent."""
    data = bytes(range(256)) * 4_000
    with connected(proxy) as client:
        assert answer(client, data)[0] == data
    assert proxy.carried["upstream"] == proxy.carried["downstream"] == len(data)


def test_latency_delays_and_can_be_removed(proxy):
    """Data arrives no sooner than the latency less the jitter, and unharmed."""
    with connected(proxy) as client:
        proxy.add("slow", Latency(latency_ms=300, jitter_ms=50))
        found, seconds, _ = answer(client, b"hello")
        assert found == b"hello"
        assert seconds >= 0.25
        proxy.remove("slow")
        before = proxy.fired["Latency"]
        assert answer(client, b"again")[0] == b"again"
    assert proxy.fired["Latency"] == before > 0


def test_bandwidth_narrows_the_wire(proxy):
    """50 kB at 100 kB/s take about half a second at least."""
    proxy.add("narrow", Bandwidth(rate_kb_s=100, stream="upstream"))
    with connected(proxy) as client:
        found, seconds, _ = answer(client, b"x" * 50_000)
    assert found == b"x" * 50_000
    assert seconds >= 0.4


def test_slicer_cuts_data_into_pieces(proxy):
    """One write is read in many pieces, in order."""
    data = bytes(range(200))
    proxy.add("slices", Slicer(average_size=20, size_variation=5, delay_us=3_000))
    with connected(proxy) as client:
        found, _, reads = answer(client, data)
    assert found == data
    assert reads > 4


def test_limit_data_closes_after_so_many_bytes(proxy):
    """Exactly the allowed bytes arrive, then the end."""
    proxy.add("limit", LimitData(bytes=1_000))
    with connected(proxy) as client:
        assert answer(client, b"x" * 5_000)[0] == b"x" * 1_000
    assert proxy.fired["LimitData"] == 1


def test_timeout_lets_nothing_through_and_then_closes(proxy):
    """The client reads the end, without a byte, after the time."""
    proxy.add("silent", Timeout(timeout_ms=200))
    with connected(proxy) as client:
        found, seconds, _ = answer(client, b"hello")
    assert found == b""
    assert seconds >= 0.15
    assert proxy.fired["Timeout"] >= 1


def test_a_timeout_without_end_closes_when_it_is_removed(proxy):
    """Bytes were dropped, so what comes after them must not be taken for the rest."""
    with connected(proxy) as client:
        proxy.add("silent", Timeout())
        client.sendall(b"hello")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(10)
        proxy.remove("silent")
        client.settimeout(5.0)
        assert client.recv(10) == b""


def test_reset_peer_resets_open_and_new_connections(proxy):
    """The client gets ECONNRESET, not an orderly end."""
    with connected(proxy) as client:
        assert answer(client, b"hello")[0] == b"hello"
        proxy.add("reset", ResetPeer(timeout_ms=50))
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    with connected(proxy) as client, pytest.raises(ConnectionResetError):
        client.recv(10)
    assert proxy.fired["ResetPeer"] == 2


def test_slow_close_holds_the_end_back(proxy):
    """The end of the stream arrives later than it was made."""
    proxy.add("lingering", SlowClose(delay_ms=300))
    with connected(proxy) as client:
        began = time.perf_counter()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""
        assert time.perf_counter() - began >= 0.25
    assert proxy.fired["SlowClose"] == 1


def test_down_cuts_and_refuses_and_up_listens_on_the_same_port(proxy):
    """What a dead server looks like, and that it comes back."""
    port = proxy.port
    with connected(proxy) as client:
        assert answer(client, b"hello")[0] == b"hello"
        proxy.down()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1.0)
    assert proxy.fired["down"] == 1
    proxy.clear()
    with connected(proxy) as client:
        assert answer(client, b"back")[0] == b"back"
    assert proxy.port == port


def test_toxics_work_on_their_direction_only(proxy):
    """A limit upstream does not count what comes down: 80 bytes each way are below 100."""
    proxy.add("limit", LimitData(bytes=100, stream="upstream"))
    with connected(proxy) as client:
        for _ in range(8):
            assert answer(client, b"x" * 10)[0] == b"x" * 10
    assert proxy.fired["LimitData"] == 0


def test_cut_resets_every_open_connection_once(proxy):
    """And leaves the door open."""
    with connected(proxy) as client:
        assert answer(client, b"hello")[0] == b"hello"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    with connected(proxy) as client:
        assert answer(client, b"new")[0] == b"new"
