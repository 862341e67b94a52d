"""How a send meets its engagements, and how a slot is chosen."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JoinSettings", "PolicySettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """Times in milliseconds.

    horizon_ms: how long after a send an engagement belongs to it; then its label is final.
    machine_within_ms: so soon after the delivery no person opens; 0: only marks tell machines.
    *_lateness_ms: how far behind the newest event of its topic partition an event may lie.
    dedupe_window: any repeat within this many accepted events of a topic partition is caught.
    """

    horizon_ms: int
    sends_lateness_ms: int
    engagements_lateness_ms: int
    requests_lateness_ms: int
    dedupe_window: int
    machine_within_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Shares of recipients in the control group and of the others' requests that explore.

    control_salt: another one draws another control group.
    """

    explore_share: float = 0.2
    control_share: float = 0.05
    control_salt: str = ""
