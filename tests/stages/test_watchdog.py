"""A worker that hangs ends itself, and says what it was doing."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from sendtide.stages.watchdog import EXIT_CODE, Watchdog

HANGS = """
import asyncio, time
from sendtide.stages.watchdog import Watchdog

async def main():
    dog = Watchdog(0.4)
    dog.start()
    for _ in range(8):
        dog.alive()
        await asyncio.sleep(0.1)
    print("lived", flush=True)
    stuck_in_here()

def stuck_in_here():
    time.sleep(60)

asyncio.run(main())
"""


def test_a_silent_event_loop_ends_the_process_with_every_thread_shown():
    """The exit code tells whoever restarts it; the traceback names where it hung."""
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == EXIT_CODE
    assert ended.stdout == "lived\n"
    assert "event loop has been silent" in ended.stderr
    assert "stuck_in_here" in ended.stderr


ENDLESS = """
import ctypes, time
from sendtide.stages.watchdog import Watchdog

dog = Watchdog(1.0)
dog.start()
time.sleep(0.5)
print("lived", flush=True)
ctypes.PyDLL(None).sleep(60)  # C code that keeps the interpreter to itself
"""


def test_a_loop_that_lets_no_thread_run_ends_the_process_too():
    """The watchdog's own thread never gets a turn; the traceback comes all the same."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 1
    assert ended.stdout == "lived\n"
    assert "Timeout" in ended.stderr
    assert 'File "<string>", line 9' in ended.stderr


def reasons_of(limit_s, act):
    """Reasons given within a second while `act` is called every 50 ms."""
    told, ended = [], threading.Event()

    def end(reason):
        told.append(reason)
        ended.set()

    dog = Watchdog(limit_s, end)
    dog.start()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline and not ended.is_set():
        dog.alive()
        act(dog)
        time.sleep(0.05)
    dog.stop()
    return told


def test_partitions_that_stand_still_end_the_process_by_name():
    """The loop turns and heartbeats go on: only the offsets tell."""
    [reason] = reasons_of(0.3, lambda dog: dog.standing_still(["email.sends/3"]))
    assert "email.sends/3 have stood still" in reason


def test_a_partition_that_moves_again_is_forgiven():
    """The time counts from the newest stall, not from the first."""
    turns = iter(range(1_000))
    stalled = lambda dog: dog.standing_still(["p"] if next(turns) % 4 else [])  # noqa: E731
    assert reasons_of(0.5, stalled) == []


def test_no_limit_no_watch():
    """An operator may switch it off."""
    dog = Watchdog(0.0, end=lambda reason: None)
    dog.start()
    assert not dog._thread.is_alive()


SHOWS = """
import asyncio, os, signal
from sendtide.stages.watchdog import show_on_signal

async def waits_for_ever():
    await asyncio.Event().wait()

async def main():
    show_on_signal(asyncio.get_running_loop())
    task = asyncio.create_task(waits_for_ever())
    await asyncio.sleep(0.05)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


def test_a_living_worker_shows_what_it_does_when_asked():
    """Threads and tasks, on the standard error; it goes on after that."""
    ended = subprocess.run(
        [sys.executable, "-c", SHOWS], capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 0
    assert "Current thread" in ended.stderr
    assert "in waits_for_ever" in ended.stderr
