"""What may be done to a connection, in toxiproxy's vocabulary.

Names and meanings are those of https://github.com/Shopify/toxiproxy#toxics. A toxic works on one
direction: `upstream` is from the client to the server, `downstream` back. `down` is no toxic but a
state of the proxy: nothing listens and every connection is cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Bandwidth", "Latency", "LimitData", "ResetPeer", "Slicer", "SlowClose", "Stream"]
__all__ += ["Timeout", "Toxic"]

Stream: TypeAlias = Literal["upstream", "downstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Every byte arrives this much later, give or take a uniform jitter; order is kept."""

    stream: Stream = "downstream"
    latency_ms: float = 0.0
    jitter_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """At most so many kilobytes a second and connection."""

    stream: Stream = "downstream"
    rate_kb_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowClose:
    """The end of the stream is passed on this much later."""

    stream: Stream = "downstream"
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout:
    """Nothing gets through; closed after `timeout_ms`, with 0 when the toxic is removed."""

    stream: Stream = "downstream"
    timeout_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPeer:
    """After `timeout_ms` both ends get a TCP reset, and what is under way is gone."""

    stream: Stream = "downstream"
    timeout_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicer:
    """Data is passed on in slices of `average_size` give or take `size_variation` bytes."""

    stream: Stream = "downstream"
    average_size: int = 64
    size_variation: int = 0
    delay_us: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitData:
    """The connection is closed once it has carried so many bytes since the toxic was added."""

    stream: Stream = "downstream"
    bytes: int = 0


Toxic: TypeAlias = Latency | Bandwidth | SlowClose | Timeout | ResetPeer | Slicer | LimitData
