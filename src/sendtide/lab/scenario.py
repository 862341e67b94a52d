"""What a simulated provider is made of: the numbers a run is drawn from, and its planned drift."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from sendtide.events.errors import ConfigurationError

__all__ = ["PROVIDERS", "PROVIDER_SHARES", "SEGMENTS", "ZONES", "Drift", "Scenario"]

SEGMENTS: Final = ("active", "new", "lapsing", "dormant")
ZONES: Final = (
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Tokyo",
    "Australia/Sydney",
)
"""Both hemispheres (daylight saving at opposite times), a half-hour offset, and none."""
PROVIDERS: Final = ("gmail.com", "outlook.com", "yahoo.com", "icloud.com", "gmx.net", "other")
PROVIDER_SHARES: Final = (40, 60, 72, 80, 84, 100)
"""Percent of recipients at each mailbox provider or one before it. They behave alike: a model that
serves one worse than the others has a fault of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A change at `at_ms` for the first `client_share` of clients in order of a seeded draw.

    opens: `size` is added to the log-odds of a human open. content: subjects and texts grow by the
    factor `1 + size`, which shifts the content measures and, slightly, the opens.
    """

    at_ms: int
    kind: Literal["opens", "content"] = "opens"
    size: float = -1.5
    client_share: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One simulated provider; the same scenario gives the same bytes.

    Shares are probabilities. hot_share: of the recipients, all the first client's; the others'
    sizes follow Zipf's law with `zipf_exponent`. own_slot_share: how much of the mail a client
    sends in its own favourite hour (the confounding that naive open counts fall for).
    content_told: sends tell subject, variant and images, which move the opens (`lab.messages`).
    provider_told: sends name their recipients' mailbox providers. agents_told: opens and clicks
    name the user agents of their requests (`lab.agents`).
    reaction_speed: delays of engagements are divided by it, so that a short demo sees its opens.
    """

    seed: int = 1
    clients: int = 200
    recipients: int = 20_000
    zipf_exponent: float = 1.1
    hot_share: float = 0.0
    never_opener_share: float = 0.3
    machine_share: float = 0.2
    machine_marked_share: float = 0.8
    bounce_share: float = 0.01
    request_share: float = 0.02
    own_slot_share: float = 0.5
    reaction_speed: float = 1.0
    source: str = "lab"
    content_told: bool = False
    provider_told: bool = False
    agents_told: bool = False
    drift: Drift | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.clients <= self.recipients:
            msg = (
                f"{self.clients} clients for {self.recipients} recipients: every client needs at "
                "least one; lower `clients` or raise `recipients`"
            )
            raise ConfigurationError(msg)
        if self.reaction_speed <= 0:
            msg = f"reaction_speed {self.reaction_speed} must be above 0; 1 is real time"
            raise ConfigurationError(msg)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.source):
            msg = (
                f"source {self.source!r} is no name; give letters, digits, '.', '_' or '-', at "
                "most 64, a letter or digit first"
            )
            raise ConfigurationError(msg)
        for name in ("never_opener_share", "machine_share", "machine_marked_share"):
            self._check_share(name)
        for name in ("hot_share", "bounce_share", "request_share", "own_slot_share"):
            self._check_share(name)

    def _check_share(self, name: str) -> None:
        if not 0 <= getattr(self, name) <= 1:
            msg = f"{name} {getattr(self, name)} is a probability; give 0 to 1"
            raise ConfigurationError(msg)
