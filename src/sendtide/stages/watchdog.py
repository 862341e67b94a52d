"""Ends a worker that no longer does anything, so that the group gives its partitions to another.

A process that hangs is worse than one that died: its heartbeats go on, its partitions stand still.
Whoever restarts dead workers (systemd, Compose, Kubernetes) then does the rest. What every thread
was doing goes to the standard error first. SIGUSR1 shows that of a living worker (every thread),
SIGUSR2 what each task of its event loop waits for.

A compiled loop that never ends keeps every Python thread from running, the watchdog's too. So it
winds up a timer of `faulthandler` at each look, a C thread that needs nobody's leave: should the
looks themselves stop, that one ends the process, with status 1.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["EXIT_CODE", "Watchdog", "end_process", "show_on_signal"]

logger = logging.getLogger(__name__)

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
_FRAMES: Final = 6
_LOOKS: Final = 8
"""Looks within the limit."""


def end_process(reason: str) -> None:
    """Say why, show every thread, and end at once: a drain would hang on what hangs."""
    logger.critical("%s; this worker ends, its partitions go to others", reason)
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    sys.stderr.flush()
    os._exit(EXIT_CODE)


def show_on_signal(loop: asyncio.AbstractEventLoop) -> None:
    """Let SIGUSR1 show every thread, SIGUSR2 every task of the loop, on the standard error."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    loop.add_signal_handler(signal.SIGUSR2, _show_tasks, loop)


def _show_tasks(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.print_stack(limit=_FRAMES, file=sys.stderr)
    sys.stderr.flush()


class Watchdog:
    """A thread of its own, since what it watches may be stuck in a compiled loop or a lock.

    Args:
        limit_s: how long the event loop may be silent, or partitions stand still; 0: for ever.
        end: called once with the reason.
    """

    def __init__(self, limit_s: float, end: Callable[[str], None] = end_process) -> None:
        self._limit_s = limit_s
        self._end = end
        self._alive_at = time.monotonic()
        self._stalled: Sequence[str] = ()
        self._stalled_since: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._alive_at = time.monotonic()
        if self._limit_s > 0:
            self._thread.start()

    def alive(self) -> None:
        """The event loop turns."""
        self._alive_at = time.monotonic()

    def standing_still(self, partitions: Sequence[str]) -> None:
        """These have work and do none, as of now; none: all is well."""
        self._stalled = partitions
        if not partitions:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = time.monotonic()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def _watch(self) -> None:
        last_resort = self._end is end_process
        while not self._stopped.wait(self._limit_s / _LOOKS):
            if last_resort:
                faulthandler.dump_traceback_later(self._limit_s, exit=True)
            reason = self._reason(time.monotonic())
            if reason:
                self._end(reason)
                return
        if last_resort:
            faulthandler.cancel_dump_traceback_later()

    def _reason(self, now: float) -> str | None:
        silent_s = now - self._alive_at
        if silent_s > self._limit_s:
            return f"the event loop has been silent for {silent_s:.0f} s"
        since = self._stalled_since
        if since is not None and now - since > self._limit_s:
            names = ", ".join(self._stalled[:8])
            return f"{names} have stood still for {now - since:.0f} s with records waiting"
        return None
