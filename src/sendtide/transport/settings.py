"""How a Faust app uses this transport, and where a transport finds that again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sendtide.transport.owner import PartitionOwner

__all__ = ["Settings", "install", "settings_of"]

_ATTRIBUTE: Final = "rdkafka_settings"


@dataclass(slots=True, kw_only=True)
class Settings:
    """Transport settings of one app.

    client: ordinary librdkafka settings (TLS, SASL, timeouts) for consumer and producer.
    consumer, producer: the same for one of them only.
    copartitioned: groups of topics of which one worker must hold equal partition numbers; the
        first of each group decides the assignment, the others follow it.
    chunk_messages: most messages fetched at once. in_flight_bytes: a partition is paused while
        more than this is unacknowledged. commit_interval_s: how often offsets are committed.
    revoke_budget_s: how long `owner.revoked` may take before the partitions go anyway.
    """

    client: dict[str, Any] = field(default_factory=dict)
    consumer: dict[str, Any] = field(default_factory=dict)
    producer: dict[str, Any] = field(default_factory=dict)
    copartitioned: Sequence[Sequence[str]] = ()
    owner: PartitionOwner | None = None
    chunk_messages: int = 20_000
    in_flight_bytes: int = 16 * 1024 * 1024
    commit_interval_s: float = 1.0
    revoke_budget_s: float = 20.0
    chunk_topics: set[str] = field(default_factory=set)


def install(app: Any, settings: Settings) -> None:
    """Give a Faust app its transport settings; call it before the app starts."""
    setattr(app, _ATTRIBUTE, settings)


def settings_of(app: Any) -> Settings:
    """Return the settings installed into `app`, made with defaults on first use."""
    if not hasattr(app, _ATTRIBUTE):
        install(app, Settings())
    settings: Settings = getattr(app, _ATTRIBUTE)
    return settings
