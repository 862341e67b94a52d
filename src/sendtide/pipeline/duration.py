"""Durations as people write them: a whole number and a unit, "200ms", "30s", "10m", "6h", "7d"."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["UNITS_MS", "format_duration", "parse_duration"]

UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


def parse_duration(text: object) -> int:
    """Milliseconds of a duration.

    >>> parse_duration("30s")
    30000

    Raises:
        ValueError: not text, or not a whole number with one of the units.
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        msg = (
            f"{text!r} is not a duration; write a whole number and a unit: "
            '"200ms", "30s", "10m", "6h", "7d"'
        )
        raise ValueError(msg)
    return int(match[1]) * UNITS_MS[match[2]]


def format_duration(duration_ms: int) -> str:
    """Shortest exact form of a duration.

    >>> format_duration(90_000)
    '90s'
    """
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % UNITS_MS[unit] == 0:
            return f"{duration_ms // UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"
