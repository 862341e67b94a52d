"""Child processes that never outlive us: ended in order on a normal exit, by the kernel otherwise.

Linux delivers a parent-death signal when the *thread* that made the child ends; children are
therefore started from the main thread only. Elsewhere an orderly stop still works, but a SIGKILL of
the parent does not reach the children.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from sendtide.events.errors import ConfigurationError, Unavailable

__all__ = ["ServerProcess", "start_program"]

_LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_READY_POLL_S: Final = 0.02
_TAIL_BYTES: Final = 2_000
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class ServerProcess:
    """A running child: its name, address and log file."""

    name: str
    process: subprocess.Popen[bytes]
    address: str
    log: Path
    asked: bool = False

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self.process.poll() is None

    @property
    def cpu_s(self) -> float:
        """Processor time so far, its launcher's children included."""
        process = psutil.Process(self.process.pid)
        times = [p.cpu_times() for p in (process, *process.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))

    def ask_to_stop(self) -> None:
        """Send SIGTERM once: a second one tells our own programs to drop what they hold."""
        if self.running and not self.asked:
            self.asked = True
            self.process.terminate()

    def stop(self, timeout_s: float = 10.0) -> int:
        """End it with SIGTERM, after `timeout_s` with SIGKILL; return its exit status."""
        self.ask_to_stop()
        if self.running:
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
        while True:
            answered = ready()
            # A stranger may answer in place of a child that found its port taken.
            if answered and self.running:
                return
            if not self.running or time.monotonic() > deadline:
                state = "is not ready" if self.running else f"ended with {self.process.returncode}"
                msg = f"{self.name} {state} within {timeout_s:.0f} s; {self.log}: {self.tail()}"
                self.stop(1.0)
                raise Unavailable(msg)
            time.sleep(_READY_POLL_S)

    def tail(self, size: int = _TAIL_BYTES) -> str:
        """The last lines of its log, at most `size` bytes."""
        return self.log.read_bytes()[-size:].decode(errors="replace").strip()


def start_program(
    name: str,
    command: Sequence[str],
    *,
    address: str,
    logs: Path,
    environment: Mapping[str, str] | None = None,
    feed: bytes = b"",
) -> ServerProcess:
    """Start `command` with its output in `logs/<name>.log`; `feed` is its standard input.

    The input is for what must not stand on a command line that every user of the machine may read;
    a few kilobytes at most.

    Raises:
        ConfigurationError: the program is missing, or the log cannot be written.
        RuntimeError: not called from the main thread; the child would end with this thread.
    """
    if threading.current_thread() is not threading.main_thread():
        msg = f"{name} must be started from the main thread: a child ends with its parent's thread"
        raise RuntimeError(msg)
    program = shutil.which(command[0])
    if program is None:
        msg = f"{name} cannot be started: there is no program {command[0]} here; install it first"
        raise ConfigurationError(msg)
    launch = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), program, *command[1:]]
    log = logs / f"{name}.log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own command lines
                launch,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in order
            )
    except OSError as error:
        raise ConfigurationError(_refusal(name, log, error)) from error
    assert process.stdin is not None
    process.stdin.write(feed)
    process.stdin.close()
    return ServerProcess(name, process, address, log)


def _refusal(name: str, log: Path, error: OSError) -> str:
    what = f"{name} cannot be started: {log} cannot be written ({error.strerror})"
    if error.errno in _FULL:
        return f"{what}; the disk is full, make room or give a folder on another disk with --data"
    return f"{what}; give a folder you may write to with --data"
