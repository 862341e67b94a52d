"""A worker that stops itself at a named point, or breaks a promise: for trials, never for service.

    python -m sendtide.chaos.sabotage [--at POINT:N:SIGNAL] [--break PROMISE] [--clock S] [--lose N]
        worker ...

The rest of the line is that of `sendtide`. The classes are changed in this process alone, before
the program begins; the program itself knows no such switch.

Points: before_apply, after_apply (a chunk of stage A), before_commit, before_snapshot,
mid_snapshot (columns written, manifest not), before_publish (a write of recipients to Redis).
Promises: fence (an older owner may write), order (offsets go before the work), dedupe (repeats
count), each of which the judge must miss.
Lose: after N fetches the client fetches nothing more, and nobody but the client knows.
Clock: `time.time` and `time.time_ns` are this many seconds off; the monotonic clock is right. (A
preloaded clock such as faketime's breaks the timed waits of librdkafka, which are the kernel's.)
"""

from __future__ import annotations

import asyncio
import functools
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sendtide.recipients import RecipientPartition
from sendtide.sinks import redis as redis_sink
from sendtide.sinks.redis import RedisSink
from sendtide.stages.piece import Piece
from sendtide.stages.recipient import RecipientStage
from sendtide.stages.stage import Stage
from sendtide.state import SnapshotStore
from sendtide.state.seen import SeenSet
from sendtide.transport.committer import Committer
from sendtide.transport.poller import Poller
from sendtide.transport.runs import Run
from sendtide.transport.transactional_client import TransactionalClient

__all__ = ["BREAKS", "POINTS", "main"]

_MINE: Final = ("--at", "--break", "--clock", "--lose")


def _signal(signum: int) -> None:
    """Act on this very thread: one sent to the process would let it run on for a moment."""
    signal.pthread_kill(threading.get_ident(), signum)


def _stopping(owner: Any, method: str, number: int, signum: int, *, after: bool = False) -> None:
    """Let the `number`-th call of a method end or pause this process."""
    original, calls = getattr(owner, method), 0

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if after:
            result = original(*arguments, **named)
        if calls == number:
            _signal(signum)
        return result if after else original(*arguments, **named)

    setattr(owner, method, wrapped)


def _mid_snapshot(number: int, signum: int) -> None:
    original, calls = SnapshotStore._put, 0

    def put(self: SnapshotStore, path: str, parts: Sequence[bytes | memoryview]) -> None:
        nonlocal calls
        calls += path.endswith(".manifest")
        if calls == number and path.endswith(".manifest"):
            _signal(signum)
        original(self, path, parts)

    SnapshotStore._put = put  # type: ignore[method-assign]


def _before_commit(number: int, signum: int) -> None:
    """Offsets go in transactions where there are any, and by themselves elsewhere."""
    _stopping(TransactionalClient, "write", number, signum)
    _stopping(Committer, "commit", number, signum)


POINTS: Final[dict[str, Callable[[int, int], None]]] = {
    "before_apply": lambda n, s: _stopping(RecipientStage, "apply", n, s),
    "after_apply": lambda n, s: _stopping(RecipientStage, "apply", n, s, after=True),
    "before_commit": _before_commit,
    "before_snapshot": lambda n, s: _stopping(SnapshotStore, "write", n, s),
    "mid_snapshot": _mid_snapshot,
    "before_publish": lambda n, s: _stopping(RedisSink, "write_recipients", n, s),
}


def _without_fence() -> None:
    """Older epochs write as they like, and nobody repairs what they have written."""
    for name in ("_SEAL", "_SET_EACH", "_SET_AT_ONCE", "_ERASE", "_COMMANDS"):
        script = getattr(redis_sink, name).replace("if held and", "if false and")
        setattr(redis_sink, name, script.replace("if number > 0 and", "if false and"))
    setattr(RedisSink, "forgot", lambda *_: [])  # noqa: B010


def _commit_first() -> None:
    """Acknowledge a chunk on arrival and do its work a while later."""
    take = Stage.take

    async def late(self: Stage[Any], piece: Piece) -> None:
        piece.finish()
        piece.countdown.parts = 1 << 30
        await asyncio.sleep(_LATE_S)
        await take(self, piece)

    Stage.take = late  # type: ignore[method-assign]


_LATE_S: Final = 3.0


def _without_dedupe() -> None:
    """Remember the last two engagements of a partition only."""
    apply = RecipientPartition.apply_engagements

    def forgetful(self: RecipientPartition, *arguments: Any) -> Any:
        self.seen[1] = SeenSet(1)
        return apply(self, *arguments)

    setattr(RecipientPartition, "apply_engagements", forgetful)  # noqa: B010


def _shift_clock(seconds: int) -> None:
    """Set the wall clock of this process forward, or back."""
    read, read_ns = time.time, time.time_ns
    setattr(time, "time", lambda: read() + seconds)  # noqa: B010
    setattr(time, "time_ns", lambda: read_ns() + seconds * 1_000_000_000)  # noqa: B010


def _lose_places(number: int) -> None:
    """Pause every partition behind the poller's back, after so many fetches."""
    hand_over, fetches = Poller._hand_over, 0

    def wrapped(self: Poller, fetched: list[Run]) -> None:
        nonlocal fetches
        fetches += 1
        hand_over(self, fetched)
        if fetches == number:
            self._consumer.pause(self._consumer.assignment())

    Poller._hand_over = wrapped  # type: ignore[method-assign]


BREAKS: Final[dict[str, Callable[[], None]]] = {
    "fence": _without_fence,
    "order": _commit_first,
    "dedupe": _without_dedupe,
}


def main(arguments: list[str]) -> None:
    """Change the classes as asked, then become `sendtide`."""
    while arguments and arguments[0] in _MINE:
        option, value, *arguments = arguments
        if option == "--break":
            BREAKS[value]()
        elif option == "--clock":
            _shift_clock(int(value))
        elif option == "--lose":
            _lose_places(int(value))
        else:
            point, number, name = value.split(":")
            POINTS[point](int(number), signal.Signals[name])
    sys.argv = ["sendtide", *arguments]
    runpy.run_module("sendtide.commands", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
