"""Is a consumer of a partition healthy: judged by how its lag moves, without a threshold.

The rules are those of LinkedIn's Burrow (wiki "Consumer Lag Evaluation Rules"), over a window of
the newest samples, worst first. While the lag is zero now, or was at any time of the window, all
is well; otherwise the partition is

    rewind   the offset fell: work is being done again
    stop     longer without a sample than the whole window spans: nobody looks any more
    stall    the offset stands still though there is something to do
    warning  the offset moves, but the lag never shrank over the window: too slow
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

__all__ = ["WINDOW_SAMPLES", "LagSample", "LagWindow", "Status"]

Status = Literal["ok", "warning", "stall", "stop", "rewind"]
WINDOW_SAMPLES: Final = 10
"""As Burrow's default of ten intervals."""


@dataclass(frozen=True, slots=True)
class LagSample:
    """at_s: when, on any steady clock. offset: next to be worked on. lag: records behind it."""

    at_s: float
    offset: int
    lag: int


class LagWindow:
    """The newest samples of one partition."""

    def __init__(self, samples: int = WINDOW_SAMPLES) -> None:
        self._samples: deque[LagSample] = deque(maxlen=samples)
        self._standing_since_s = 0.0

    def add(self, sample: LagSample) -> None:
        """Take a sample; the oldest makes room."""
        before = self._samples[-1] if self._samples else None
        if not (before and before.lag and sample.lag and before.offset == sample.offset):
            self._standing_since_s = sample.at_s
        self._samples.append(sample)

    def standing_s(self) -> float:
        """How long, up to the newest sample, the offset has stood with something to do."""
        return self._samples[-1].at_s - self._standing_since_s if self._samples else 0.0

    def status(self, now_s: float) -> Status:
        """Judge the window. A single sample tells nothing: ok."""
        samples = tuple(self._samples)
        if len(samples) < 2 or any(sample.lag == 0 for sample in samples):
            return "ok"
        pairs = tuple(pairwise(samples))
        if any(after.offset < before.offset for before, after in pairs):
            return "rewind"
        if now_s - samples[-1].at_s > samples[-1].at_s - samples[0].at_s:
            return "stop"
        if len(samples) < (self._samples.maxlen or 0):
            return "ok"
        if samples[0].offset == samples[-1].offset:
            return "stall"
        if all(after.lag >= before.lag for before, after in pairs):
            return "warning"
        return "ok"
