"""How long a partition's records waited while it went from one owner to the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sendtide.stages.piece import Piece

__all__ = ["Handover"]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Handover:
    """Times in milliseconds since 1970, on clocks of up to three machines.

    given_ms: when the new owner was given the partition. left_ms: when the one before wrote last,
    None until that has been asked, 0 if nobody had it. came_ms, taken_ms: Kafka timestamp of the
    first record that is no replay, and when it was worked on.
    """

    given_ms: int = field(default_factory=_now_ms)
    left_ms: int | None = None
    came_ms: int = 0
    taken_ms: int | None = None

    def work_begins(self, piece: Piece) -> None:
        """Called with every piece that is no replay; the first one tells."""
        if self.taken_ms is None:
            self.came_ms, self.taken_ms = int(piece.records.timestamps_ms[0]), _now_ms()

    @property
    def unattended_s(self) -> float | None:
        """Seconds that records waited: since the first came, or the owner before wrote last.

        Where nobody had the partition before, since it was given. None: no record has come yet, or
        nobody was asked about the owner before.
        """
        if self.taken_ms is None or self.left_ms is None:
            return None
        since_ms = max(self.came_ms, self.left_ms or self.given_ms)
        return max(0, self.taken_ms - since_ms) / 1000
