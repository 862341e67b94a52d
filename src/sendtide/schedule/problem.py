"""What is to be scheduled, and under which rules, as columns.

Rules in words: a message goes out inside its window, not in the recipient's quiet hours, not
oftener to one person than the caps say, not faster to a mailbox provider than its hourly rate, and
not more in a UTC day than the warm-up of the sending addresses allows.

The three rules about one person are one rule with three lengths: in any period of so many
milliseconds at most so many messages (spacing: at most one). Periods roll; a cap "per day" that
began anew at midnight would allow twice as much around midnight.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.errors import ConfigurationError
from sendtide.events.records import HOURS_PER_WEEK

__all__ = ["CAPS", "HOUR_MS", "REASONS", "RELAX_ORDER", "UNLIMITED"]
__all__ += ["Constraints", "Requests", "Sent", "reason_names"]

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

HOUR_MS: Final = 3_600_000
UNLIMITED: Final = -1
CAPS: Final = ("spacing", "frequency_day", "frequency_week")
REASONS: Final = (*CAPS, "quiet_hours", "window", "provider_rate", "warm_up")
"""Names of the rules; the bit of a rule in a decision's `relaxed` is its place here."""
RELAX_ORDER: Final = (
    "warm_up",
    "provider_rate",
    "spacing",
    "frequency_week",
    "frequency_day",
    "quiet_hours",
    "window",
)
"""Which rule gives way first where not all can be kept."""
_CAP_LENGTHS_MS: Final = (24 * HOUR_MS, 168 * HOUR_MS)
_MAX_HORIZON_HOURS: Final = 62 * 24
_MINUTES_PER_DAY: Final = 1_440


def reason_names(mask: int) -> str:
    """Names of the rules in `mask`, joined by "+"; "" for none."""
    return "+".join(name for place, name in enumerate(REASONS) if mask >> place & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """n messages to send.

    recipient: (n,) codes, equal for the same person. provider: (n,) index into the rates. zone:
    (n,) hash of the zone's name, 0 for UTC. window_start_ms, window_end_ms: (n,), the end is
    outside. value: (n,) what one open is worth. curve: (n,) row of `curves`, (m, 168) P(open) by
    hour of the week on the recipient's clock.
    """

    recipient: U64
    provider: I32
    zone: U64
    window_start_ms: I64
    window_end_ms: I64
    value: F64
    curve: I32
    curves: F32

    def __post_init__(self) -> None:
        wrong = {
            "an empty window": self.window_end_ms <= self.window_start_ms,
            "a value that is negative or not finite": ~(
                np.isfinite(self.value) & (self.value >= 0)
            ),
            "a curve that is not there": (self.curve < 0) | (self.curve >= len(self.curves)),
        }
        for what, rows in wrong.items():
            if rows.any():
                msg = f"request {int(np.argmax(rows))} has {what}; {int(rows.sum())} such requests"
                raise ConfigurationError(msg)
        scores = self.curves
        if scores.shape[1:] != (HOURS_PER_WEEK,) or not ((scores >= 0) & (scores <= 1)).all():
            msg = f"curves of shape {scores.shape}; wanted (m, {HOURS_PER_WEEK}), each 0 to 1"
            raise ConfigurationError(msg)

    def __len__(self) -> int:
        return len(self.recipient)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What went out before: it counts in caps, rates and the warm-up. provider: -1 if unknown."""

    recipient: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    sent_at_ms: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    provider: I32 = field(default_factory=lambda: np.zeros(0, np.int32))

    def __len__(self) -> int:
        return len(self.recipient)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """The rules; a limit of UNLIMITED is none.

    not_before_ms: now; nothing is sent earlier. quiet: minutes of the local day [from, to), equal
    for none. per_day, per_week: messages to one person in any 24 and 168 hours. rates: (providers,)
    messages an hour. warm_up: first UTC day (days since 1970) and the total of each day from it on.
    relax: names of all rules, the first gives way first. max_delay_ms: how far after its window a
    message may go where the window is what gives way.
    """

    not_before_ms: int
    quiet: tuple[int, int] = (0, 0)
    per_day: int = UNLIMITED
    per_week: int = UNLIMITED
    spacing_ms: int = 0
    rates: I64 = field(default_factory=lambda: np.full(1, UNLIMITED, np.int64))
    warm_up_day: int = 0
    warm_up: tuple[int, ...] = ()
    relax: tuple[str, ...] = RELAX_ORDER
    max_delay_ms: int = 24 * HOUR_MS

    def __post_init__(self) -> None:
        if sorted(self.relax) != sorted(REASONS):
            msg = f"relax names {', '.join(self.relax)}; wanted: each of {', '.join(REASONS)} once"
            raise ConfigurationError(msg)
        if not all(0 <= minute < _MINUTES_PER_DAY for minute in self.quiet):
            msg = f"quiet hours {self.quiet}; wanted: minutes of the day, 0 to 1439"
            raise ConfigurationError(msg)

    def cap_limits(self) -> I64:
        """(3,) largest numbers in any period of `cap_lengths_ms`; UNLIMITED for none."""
        spacing = 1 if self.spacing_ms > 0 else UNLIMITED
        return np.array([spacing, self.per_day, self.per_week], np.int64)

    def cap_lengths_ms(self) -> I64:
        """(3,) lengths of the periods, in the order of CAPS."""
        return np.array([self.spacing_ms, *_CAP_LENGTHS_MS], np.int64)

    def costs(self) -> I64:
        """(7,) cost of breaking each of REASONS: each more than all that give way before it."""
        return np.array([1 << self.relax.index(name) for name in REASONS], np.int64)


def check_horizon(first_ms: int, last_ms: int) -> None:
    """Refuse a horizon no table can hold.

    Raises:
        ConfigurationError: the windows span more than 62 days.
    """
    hours = (last_ms - first_ms) // HOUR_MS
    if hours > _MAX_HORIZON_HOURS:
        msg = (
            f"the windows span {hours} hours; at most {_MAX_HORIZON_HOURS} can be scheduled at "
            "once. Are start and end in milliseconds? Else schedule the near ones first"
        )
        raise ConfigurationError(msg)
