"""What both guarantees have in common: works are queued, and written together at a steady pace.

works ─► those that came since the last round, in order ─► still ours? ─► merged ─► stored
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sendtide.transport.errors import TransportError, WithdrawnError
from sendtide.transport.rebalance import TopicPartition
from sendtide.transport.records import Outputs, size_of

__all__ = ["Tenure", "Work", "Writer", "remaining"]


@dataclass(eq=False, slots=True)
class Tenure:
    """A unit of partitions held, from assignment until it is taken away.

    committed: offset by partition up to which outputs are stored; the writer alone moves it.
    over: true once the unit is gone: what is still queued for it is withdrawn.
    """

    committed: dict[TopicPartition, int] = field(default_factory=dict)
    over: bool = False


@dataclass(eq=False, slots=True)
class Work:
    """Outputs and the offsets they came from; `done` once they are stored."""

    outputs: Outputs
    tenure: Tenure
    offsets: Mapping[TopicPartition, int]
    size: int
    done: asyncio.Future[None]


class Writer(ABC):
    """Writes for one event loop.

    Args:
        interval_s: between the beginnings of two rounds, at least.
        max_bytes: records of one round, about.
    """

    def __init__(self, interval_s: float, max_bytes: int) -> None:
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        self._queue: deque[Work] = deque()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    async def write(
        self,
        outputs: Outputs,
        tenure: Tenure,
        offsets: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Return when the records are stored.

        Raises:
            WithdrawnError: the tenure is over, and nothing of this is stored; or the writer was
                stopped, and it may be.
            TransportError: the writer has failed for good.
        """
        if self._failure is not None:
            msg = f"outputs cannot be written any more: {self._failure}"
            raise TransportError(msg) from self._failure
        size = sum(map(size_of, outputs.values()))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(Work(outputs, tenure, offsets or {}, size, done))
        self._wanted.set()
        await done

    async def stop(self) -> None:
        """End; what is queued still is not stored."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._fail(WithdrawnError("the writer was stopped"))  # it may not have begun

    @abstractmethod
    async def _store(self, works: list[Work]) -> None:
        """See that each work is stored, or withdrawn, and say so by its `done`."""

    async def _run(self) -> None:
        began = 0.0
        works: list[Work] = []
        try:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(max(0.0, began + self._interval_s - time.monotonic()))
                began = time.monotonic()
                works = self._take()
                await self._store(works)
                works = []
        except asyncio.CancelledError:
            self._fail(WithdrawnError("the writer was stopped"), works)
            raise
        except Exception as error:
            self._fail(error, works)

    def _take(self) -> list[Work]:
        """The next works in order, as many as one round should hold."""
        works: list[Work] = []
        size = 0
        while self._queue and (not works or size + self._queue[0].size <= self._max_bytes):
            work = self._queue.popleft()
            size += work.size
            works.append(work)
        if not self._queue:
            self._wanted.clear()
        return works

    def _fail(self, error: BaseException, works: Iterable[Work] = ()) -> None:
        self._failure = self._failure or error
        for work in (*works, *self._queue):
            if not work.done.done():
                work.done.set_exception(error)
        self._queue.clear()


def remaining(works: Iterable[Work]) -> list[Work]:
    """Withdraw works whose tenure is over; return the others."""
    kept = []
    for work in works:
        if work.done.done():  # cancelled by whoever waited for it
            continue
        if not work.tenure.over:
            kept.append(work)
            continue
        msg = f"{len(work.outputs)} topics' records are withdrawn: their partition was taken away"
        work.done.set_exception(WithdrawnError(msg))
    return kept
