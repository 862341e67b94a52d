"""Faults of workers: killed, asked to stop, paused past their session, moved about."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sendtide.chaos.trial import Trial
from sendtide.local import ServerProcess

__all__ = ["MEMORY_GROUPS", "at_point", "clock_skew", "kill_mid_batch", "rebalance_storm"]
__all__ += ["memory_capped", "places_lost", "stop_in_order", "stop_twice", "zombie"]

_PAUSED_S: Final = 12.0
"""Three session timeouts."""
_FETCHES: Final = 20
_DAY_S: Final = 86_400
MEMORY_GROUPS: Final = "/sys/fs/cgroup/memory"
_ROOM_BYTES: Final = 4 << 20


def kill_mid_batch(trial: Trial) -> None:
    """SIGKILL while records flow; another worker takes over."""
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.3)
    trial.kill(worker)
    trial.healed()
    trial.worker()


def places_lost(trial: Trial) -> None:
    """The client fetches nothing more, without a word; the worker notices and sends it back."""
    worker = trial.worker(lose=_FETCHES)
    trial.start_load()
    trial.load.finish()
    trial.note_in_flight()
    trial.healed()
    trial.wait("what it does about it", lambda: trial.lost_places(worker) > 0)
    trial.fired = True


def at_point(point: str, number: int, *, at_rest: bool = False) -> Callable[[Trial], None]:
    """SIGKILL at the `number`-th passing of a named point.

    at_rest: the point is passed without records too, so some must be there before the worker is.
    """

    def act(trial: Trial) -> None:
        begin = 0.5 if at_rest else 0.0
        if at_rest:
            trial.start_load(end=begin)
        worker = trial.worker(at=f"{point}:{number}:SIGKILL")
        trial.start_load(begin)
        trial.wait("the point", lambda: not worker.running)
        trial.note_in_flight()
        trial.fired = worker.process.wait() == -signal.SIGKILL
        trial.healed()
        trial.worker()

    act.__doc__ = f"SIGKILL at {point.replace('_', ' ')}."
    return act


def stop_in_order(trial: Trial) -> None:
    """SIGTERM under load: exit code 0, another worker goes on."""
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.3)
    trial.note_in_flight()
    trial.fired = worker.stop(60.0) == 0
    trial.healed()
    trial.worker()


def stop_twice(trial: Trial) -> None:
    """SIGTERM and at once another: it may drop what it holds, not lose it."""
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.3)
    trial.note_in_flight()
    for _ in range(2):
        worker.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    trial.wait("its end", lambda: not worker.running, 60.0)
    trial.fired = True
    trial.healed()
    trial.worker()


def zombie(trial: Trial) -> None:
    """Paused before a write to Redis, past its session; another takes over; then it goes on."""
    paused = trial.worker(at="before_publish:3:SIGSTOP")
    trial.load.start(trial.records)  # at once: it may be paused before it holds them all
    trial.wait("the pause", lambda: is_stopped(paused))
    trial.note_in_flight()
    time.sleep(_PAUSED_S)
    trial.worker()
    trial.load.finish()
    trial.wait("the takeover", lambda: trial.taken_in() >= len(trial.load.acked))
    paused.process.send_signal(signal.SIGCONT)
    trial.fired = True
    trial.healed()
    time.sleep(5.0)  # long enough for it to write, were it let


def is_stopped(process: ServerProcess) -> bool:
    """True if the kernel says it is stopped by a signal."""
    state = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state in {"T", "t"}


def rebalance_storm(trial: Trial) -> None:
    """Four workers come at once and go one after another while records flow."""
    trial.worker()
    trial.start_load(end=0.5)
    trial.wait_share(0.1)
    others = [trial.worker() for _ in range(4)]
    newcomer = "partitions for those who came"
    trial.wait(newcomer, lambda: any(map(trial.holds, others)))
    trial.start_load(0.5)
    while others:  # not each of them has a partition at first
        trial.wait(newcomer, lambda: any(map(trial.holds, others)))
        held = next(other for other in others if trial.holds(other))
        trial.kill(held)
        others.remove(held)
    trial.healed()


def clock_skew(trial: Trial) -> None:
    """The second worker's clock is a day behind, the third's a day ahead."""
    first = trial.worker()
    trial.start_load()
    trial.wait_share(0.2)
    trial.kill(first)
    behind = trial.worker(clock_s=-_DAY_S)
    trial.wait_share(0.5)
    trial.fired = trial.fired and trial.clock_of(behind) < time.time() - _DAY_S / 2
    trial.kill(behind)
    trial.healed()
    ahead = trial.worker(clock_s=_DAY_S)
    trial.wait("its beat", lambda: trial.clock_of(ahead) > 0)
    trial.fired = trial.fired and trial.clock_of(ahead) > time.time() + _DAY_S / 2


def memory_capped(trial: Trial) -> None:
    """The kernel kills a worker that grows past the limit of its group; another takes over."""
    group = Path(MEMORY_GROUPS) / trial.name
    group.mkdir()
    trial.undo.callback(group.rmdir)
    worker = trial.worker()
    trial.start_load()
    trial.wait_share(0.3)
    trial.note_in_flight()
    # What it holds by now is its parent group's: the limit is for what it takes from here on.
    (group / "memory.limit_in_bytes").write_text(str(_ROOM_BYTES))
    (group / "cgroup.procs").write_text(str(worker.process.pid))
    trial.wait("its end", lambda: not worker.running)
    refused = int((group / "memory.failcnt").read_text())
    trial.fired = refused > 0 and worker.process.returncode == -signal.SIGKILL
    trial.healed()
    trial.worker()
