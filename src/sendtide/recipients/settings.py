"""How a send meets its engagements."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JoinSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """Times in milliseconds.

    horizon_ms: how long after a send an engagement belongs to it; then its label is final.
    *_lateness_ms: how far behind the newest event of its topic partition an event may lie.
    dedupe_window: any repeat within this many accepted events of a topic partition is caught.
    """

    horizon_ms: int
    sends_lateness_ms: int
    engagements_lateness_ms: int
    requests_lateness_ms: int
    dedupe_window: int
