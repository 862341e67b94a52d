"""Being asked to stop: SIGTERM or Ctrl-C once means in order, twice means now."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Final, Self

__all__ = ["Stop"]

_STEP_S: Final = 0.05


class Stop:
    """Inside the `with`, SIGTERM and SIGINT set `asked`; a second one interrupts.

    A plain flag, not `threading.Event`: a handler runs in the thread it interrupts, and if that
    thread holds the event's lock just then, setting it would wait for ever.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        numbers = (signal.SIGTERM, signal.SIGINT)
        self._before = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def wait(self, seconds: float) -> bool:
        """Wait this long or until asked; return whether asked."""
        ends = time.monotonic() + seconds
        while not self.asked and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, _STEP_S))
        return self.asked
