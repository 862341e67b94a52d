"""Child processes that never outlive us: ended in order on a normal exit, by the kernel otherwise.

Linux delivers a parent-death signal when the *thread* that made the child ends, so start children
from the main thread. Elsewhere an orderly stop still works, a SIGKILL of the parent does not reach
the children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sendtide.events.errors import ConfigurationError, Unavailable

__all__ = ["ServerProcess", "free_port", "start_program"]

_PR_SET_PDEATHSIG: Final = 1
_READY_POLL_S: Final = 0.02
_TAIL_BYTES: Final = 2_000


def free_port() -> int:
    """A port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def refuse_busy_port(port: int, what: str) -> None:
    """Raise `ConfigurationError` if something listens on `port` of loopback."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            msg = (
                f"port {port} for {what} is in use; stop what listens there "
                f"(`ss -ltnp 'sport = :{port}'` names it) or choose another port"
            )
            raise ConfigurationError(msg)


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def prepare() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died before the call
                os._exit(1)

    return prepare


@dataclass(slots=True)
class ServerProcess:
    """A running child: its name, address and log file."""

    name: str
    process: subprocess.Popen[bytes]
    address: str
    log: Path

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self.process.poll() is None

    def stop(self, timeout_s: float = 10.0) -> int:
        """End it with SIGTERM, after `timeout_s` with SIGKILL; return its exit status."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until `ready()`.

        Raises:
            Unavailable: it ended or was not ready in time; with the last lines of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running or time.monotonic() > deadline:
                state = "is not ready" if self.running else f"ended with {self.process.returncode}"
                msg = f"{self.name} {state} within {timeout_s:.0f} s; {self.log}: {self.tail()}"
                self.stop(1.0)
                raise Unavailable(msg)
            time.sleep(_READY_POLL_S)

    def tail(self) -> str:
        """The last lines of its log."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()


def start_program(
    name: str,
    command: Sequence[str],
    *,
    address: str,
    logs: Path,
    environment: Mapping[str, str] | None = None,
) -> ServerProcess:
    """Start `command` with its output in `logs/<name>.log`.

    Raises:
        ConfigurationError: the log cannot be written, or the program is missing or not executable.
    """
    log = logs / f"{name}.log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command lines
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                preexec_fn=_die_with_parent(os.getpid()),
                start_new_session=True,
            )
    except OSError as error:
        msg = (
            f"{name} cannot be started ({error.strerror}: {error.filename}); give a folder you "
            "may write to with --data, and check that the disk is not full"
        )
        raise ConfigurationError(msg) from error
    return ServerProcess(name, process, address, log)
