"""Tells when a client knows no broker any more that it could ask, so that only a new one helps.

librdkafka forgets the brokers that a broker does not tell of. One that has just come back tells of
none, itself not among them, and the client then waits for ever (confluentinc/librdkafka#5301).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaException

__all__ = ["ANSWER_S", "CutOff"]

ANSWER_S: Final = 2.0
"""Longest wait for the answer to one question; the client does nothing else meanwhile."""

#: Between two questions, and how many in vain are no accident.
_PAUSE_S: Final = 3.0
_IN_VAIN: Final = 2


class CutOff:
    """Of one member of a group, from the loss of its partitions until it is given some.

    Args:
        ask: asks any broker for anything, waiting at most `ANSWER_S`; raises KafkaException.
        clock: seconds.
    """

    def __init__(self, ask: Callable[[], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._next: float | None = None
        self._in_vain = 0

    def lost(self) -> None:
        """The group has gone on without this member."""
        self._next, self._in_vain = self._clock() + _PAUSE_S, 0

    def back(self) -> None:
        """The group has said what this member has."""
        self._next = None

    def noticed(self) -> bool:
        """Ask, if it is time to; True if that was in vain too often. It is then counted anew."""
        if self._next is None or self._clock() < self._next:
            return False
        try:
            self._ask()
            self._in_vain = 0
        except KafkaException:
            self._in_vain += 1
        self._next = self._clock() + _PAUSE_S
        if self._in_vain < _IN_VAIN:
            return False
        self._in_vain = 0
        return True
