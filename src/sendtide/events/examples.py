"""`ml.examples`: packed training rows from recipients to clients, many to a record.

A block holds rows of one kind, from any of the recipients' partitions, each partition's in order:

- `exposure`: a send as it happened, with the recipient's history as known then (for drift, for
  the prediction stream); it has no label yet.
- `label`: the same send when its horizon is over, history as of the send, and what became of it.
  A negative ("not opened", "not clicked") is final only then: the horizon ends by the engagement
  topic's own watermark, never by a clock. A bounced send has a label too; it was no exposure.

A row's identity is (origin partition, send_offset, kind): deterministic, so a reader can drop
repeats with one bit per send.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sendtide.events.columns import pack, unpack
from sendtide.events.creative import ANGLES, BUCKETS, CREATIVE, NO_PLACE
from sendtide.events.errors import CorruptData
from sendtide.events.mailbox import MAILBOX_PROVIDERS
from sendtide.events.messages import CONTENT_FIELDS
from sendtide.events.rhythm import EVIDENCE

__all__ = ["EXAMPLE_COLUMNS", "HISTORY_COLUMNS", "PERIODS", "PERIOD_BITS", "PERIOD_MS"]
__all__ += ["CONTROL_ARM", "MAX_ORIGINS", "NO_ARM", "REST_ARM", "ExampleBlock", "ExampleKind"]

ExampleKind = Literal["exposure", "label"]

PERIOD_MS: Final = 10 * 86_400_000
PERIODS: Final = 21
PERIOD_BITS: Final = 3
"""Counts of 21 periods of ten days, three bits each (a count stays at 7), the newest lowest."""

REST_ARM: Final = 0
CONTROL_ARM: Final = 1
NO_ARM: Final = 2
"""Codes of `arm`. A send does not name the request behind it, so that of the rest nobody can tell
which were explored; blocks of before version 1.2 do not tell anything."""

HISTORY_COLUMNS: Final[dict[str, str]] = {
    "sends": "<f4",  # messages sent to this recipient before this one
    "opens": "<f4",  # of these, opened by a person before this send
    "clicks": "<f4",  # of these, clicked before this send
    "recent_sends": "<f4",  # as sends, in the current period and the eleven before
    "recent_opens": "<f4",
    "hours_since_send": "<f4",  # NaN if never
    "hours_since_open": "<f4",  # NaN if never
    "period_sends": "<u8",  # as sends, by period; see PERIOD_BITS
    "period_opens": "<u8",  # of these, opened by a person before this send
    "period": "<i4",  # the newest period of the two words: time // PERIOD_MS
}

EXAMPLE_COLUMNS: Final[dict[str, str]] = {
    "origin": "<u2",  # partition of recipients that made the row
    "client": "<u4",  # index into ExampleBlock.clients
    "segment": "<u4",  # index into ExampleBlock.segments; 0 is "" (none)
    "send_offset": "<i8",
    "sent_at_ms": "<i8",
    "time_ms": "<i8",  # exposure: sent_at_ms; label: when the horizon ended
    "hour_of_week": "|u1",  # of the send, recipient's local time, 0 = Monday 00:00
    **HISTORY_COLUMNS,
    "opened": "|u1",  # labels only, 0 otherwise: opened by a person within the horizon
    "clicked": "|u1",
    "converted": "|u1",
    "machine_opened": "|u1",  # or clicked by one, marked or not; see `recipients.machines`
    "bounced": "|u1",  # then it was no exposure, and the other facts say nothing
    "unsubscribed": "|u1",
    "complained": "|u1",
    "creative": "<u4",  # labels only: place in ExampleBlock.creatives, from 1 on; 0 without one
    "arm": "|u1",  # 1: the recipient is of its client's control group; 0: not; 2: not known
    "provider": "|u1",  # of the mailbox; place in mailbox.MAILBOX_PROVIDERS
    "group": "|u1",  # of recipients, by hash, the same for good: 0 to 63; see `hashing.GROUPS`
    "open_delay_s": "<i4",  # seconds to the first open by a person, else click, else conversion; -1
}
"""Column name to dtype; two more have rows of their own: `content`, (n, 5) float32, NaN where
absent, and `evidence`, (n, rhythm.EVIDENCE) uint16, of labels: the recipient's hours before it."""

MAX_ORIGINS: Final = 1_024
"""Most partitions of recipients."""

_VERSION: Final = "2.0"
_OLDER: Final = "1"
"""Major version whose blocks were of one origin, which their header names."""
_SINCE: Final = {
    **dict.fromkeys(("period_sends", "period_opens", "period"), 1),
    **dict.fromkeys(("bounced", "unsubscribed", "complained"), 1),
    **dict.fromkeys(("creative", "group"), 2),
    "converted": 4,
    "provider": 5,
}
"""Minor version of _OLDER that brought a column; older blocks are read with zeros in its place."""
_ARMS_SINCE: Final = 2
"""Blocks of older minor versions are read with arms not known."""
_EVIDENCE_SINCE: Final = 3
"""Blocks of older minor versions, whose evidence was of other facts, are read with none."""


@dataclass(slots=True, kw_only=True)
class ExampleBlock:
    """Rows of one kind, those of each origin partition in the order they were made."""

    kind: ExampleKind
    clients: list[str]
    segments: list[str]
    columns: dict[str, NDArray[np.generic]]
    creatives: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, CREATIVE))

    def __len__(self) -> int:
        return len(self.columns["send_offset"])

    def to_bytes(self) -> bytes:
        """The record's value."""
        meta = {
            "version": _VERSION,
            "kind": self.kind,
            "clients": self.clients,
            "segments": self.segments,
        }
        shape = len(self.creatives), CREATIVE.itemsize
        made = np.frombuffer(self.creatives.tobytes(), np.uint8).reshape(shape)
        return pack(meta, {**self.columns, "creatives": made})

    @classmethod
    def from_bytes(cls, data: bytes) -> ExampleBlock:
        """Read a record's value.

        Raises:
            CorruptData: not a block, altered, an unknown major version, or columns that are
                missing, of a wrong type or of unequal length.
        """
        meta, columns = unpack(data)
        major, _, minor = str(meta.get("version", "")).partition(".")
        if major == _OLDER:
            columns |= _missing(int(minor or 0), int(meta.get("origin", -1)), columns)
        elif major != _VERSION.partition(".")[0]:
            msg = f"example block has version {meta.get('version')!r}; this build reads 1.x and 2.x"
            raise CorruptData(msg)
        creatives = _creatives(columns.pop("creatives", None))
        columns = _wanted(columns)
        clients, segments = list(meta["clients"]), list(meta["segments"])
        sizes = {"client": len(clients), "segment": len(segments), "creative": len(creatives) + 1}
        sizes |= {"provider": len(MAILBOX_PROVIDERS), "origin": MAX_ORIGINS}
        for name, size in sizes.items():
            if len(columns[name]) and int(columns[name].max()) >= size:
                msg = f"example block names {name} {int(columns[name].max())} of {size}"
                raise CorruptData(msg)
        return cls(
            kind=meta["kind"],
            clients=clients,
            segments=segments,
            columns=columns,
            creatives=creatives,
        )


def _wanted(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The columns of a block and no others.

    Raises:
        CorruptData: some are missing, of another type, or of unequal shapes.
    """
    wide = {"content": ("<f4", (len(CONTENT_FIELDS),)), "evidence": ("<u2", (EVIDENCE,))}
    wanted = {name: (dtype, ()) for name, dtype in EXAMPLE_COLUMNS.items()} | wide
    wrong = [
        name
        for name, (dtype, row) in wanted.items()
        if name not in columns or columns[name].dtype.str != dtype or columns[name].shape[1:] != row
    ]
    found = {name: columns[name] for name in wanted if name in columns}
    lengths = {len(column) for column in found.values()}
    if wrong or len(lengths) != 1:
        msg = f"example block with bad columns {wrong} or unequal lengths {sorted(lengths)}"
        raise CorruptData(msg)
    return found


def _missing(
    minor: int, origin: int, columns: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Columns that a block of the older major version does not have."""
    n = len(columns.get("send_offset", ()))
    later = [name for name, since in _SINCE.items() if since > minor]
    found = {name: np.zeros(n, EXAMPLE_COLUMNS[name]) for name in later}
    known = origin if 0 <= origin < MAX_ORIGINS else MAX_ORIGINS  # which is refused
    found["origin"] = np.full(n, known, EXAMPLE_COLUMNS["origin"])
    if minor < _ARMS_SINCE:
        found["arm"] = np.full(n, NO_ARM, np.uint8)
    if minor < _EVIDENCE_SINCE:
        found["evidence"] = np.zeros((n, EVIDENCE), "<u2")
    return found


def _creatives(packed: NDArray[Any] | None) -> NDArray[np.void]:
    """The block's creatives; none in blocks from before them.

    Raises:
        CorruptData: bytes that are no creatives, which would address other places' memory.
    """
    data = b"" if packed is None else packed.tobytes()
    if len(data) % CREATIVE.itemsize:
        msg = f"example block has {len(data)} bytes of creatives of {CREATIVE.itemsize} bytes each"
        raise CorruptData(msg)
    rows = np.frombuffer(data, CREATIVE)
    wrong = (rows["places"] >= BUCKETS) & (rows["places"] != NO_PLACE)
    if wrong.any() or (rows["angle"] > ANGLES).any():
        msg = f"example block has a creative with a place above {BUCKETS} or an unknown angle"
        raise CorruptData(msg)
    return rows
