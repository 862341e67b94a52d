"""Ports of loopback."""

from __future__ import annotations

import os
import socket

import pytest

from sendtide.events.errors import ConfigurationError
from sendtide.local import free_port
from sendtide.local.ports import listens, refuse_busy_port


def test_a_taken_port_is_refused_with_what_to_do():
    """Whether it listens on loopback or on every address; the sentence names the port."""
    for host in ("127.0.0.1", "0.0.0.0"):
        with socket.create_server((host, 0)) as taken:
            port = taken.getsockname()[1]
            assert listens(port)
            with pytest.raises(ConfigurationError, match=f"port {port} for X is in use.*another"):
                refuse_busy_port(port, "X")


def test_a_free_port_is_free():
    """Nothing listens, and it may be asked for; one just closed may be taken again at once."""
    port = free_port()
    assert not listens(port)
    refuse_busy_port(port, "X")
    with socket.create_server(("127.0.0.1", port)):
        socket.create_connection(("127.0.0.1", port)).close()
    refuse_busy_port(port, "X")


def test_an_impossible_port_is_a_sentence():
    """Numbers beyond 65535 do not end in a traceback."""
    with pytest.raises(ConfigurationError, match="port 70000"):
        refuse_busy_port(70_000, "X")


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may take any port")
def test_a_reserved_port_is_told_as_such():
    """Low ports need the administrator."""
    with pytest.raises(ConfigurationError, match="above 1023"):
        refuse_busy_port(1, "X")


def test_a_socket_connected_to_itself_is_nobody_listening():
    """Linux lets a probe of a free port meet itself; that is no server."""
    port = free_port()
    with socket.socket() as itself:
        itself.bind(("127.0.0.1", port))
        itself.connect(("127.0.0.1", port))
        assert itself.getsockname() == itself.getpeername()
        assert not listens(port)
