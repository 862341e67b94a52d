"""Column batches: what the gate makes of a chunk of records, rows in offset order.

Strings become 64-bit hashes (`hashing.hash_text`) on the hot path; `Names` remembers the spelling
of the few that must be written out again (clients, sources, segments, zones).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sendtide.events.creative import Creatives
from sendtide.events.texts import Texts

__all__ = ["EngagementBatch", "Names", "RequestBatch", "SendBatch"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


class Names:
    """Hash to spelling, for one kind of name. Grows with distinct names, never with events."""

    __slots__ = ("_spelling",)

    def __init__(self) -> None:
        self._spelling: dict[int, str] = {}

    def learn(self, code: int, spelling: str) -> None:
        """Remember that `code` is the hash of `spelling`."""
        self._spelling.setdefault(code, spelling)

    def __contains__(self, code: object) -> bool:
        return code in self._spelling

    def __getitem__(self, code: int) -> str:
        return self._spelling[code]

    def __len__(self) -> int:
        return len(self._spelling)

    def items(self) -> list[tuple[int, str]]:
        """All pairs known, in the order they were learned."""
        return list(self._spelling.items())


@dataclass(slots=True, kw_only=True)
class _Rows:
    """Columns every input has; all of length n.

    offset: position in the topic partition. timestamp_ms: the record's Kafka timestamp (arrival).
    event_time_ms: when it happened. identity: hash of (source, id). client, source: hash of the
    name. recipient: (n, 2), the 128-bit recipient id as two big-endian halves.
    """

    offset: I64
    timestamp_ms: I64
    event_time_ms: I64
    identity: U64
    source: U64
    client: U64
    recipient: U64

    def __len__(self) -> int:
        return len(self.offset)

    def selected(self, keep: NDArray[np.bool_]) -> Self:
        """The rows that `keep`, bool[n], marks."""
        columns: dict[str, Any] = {}
        for column in fields(self):
            values = getattr(self, column.name)
            if isinstance(values, Creatives):
                columns[column.name] = values
            elif isinstance(values, Texts):
                columns[column.name] = values.selected(keep)
            else:
                columns[column.name] = values[keep]
        return type(self)(**columns)


@dataclass(slots=True, kw_only=True)
class SendBatch(_Rows):
    """Accepted rows of `email.sends`.

    zone, segment: hash of the name, 0 if absent. content: (n, 5) in the order of CONTENT_FIELDS,
    NaN where absent. creative: code of what the message is made of, among `creatives`, 0 for a
    message that tells neither subject nor variant. erase: rows that are tombstones (null value):
    the recipient is to be forgotten; their event_time_ms is the record's timestamp and their
    identity is 0. provider: code of the mailbox provider, `mailbox.NOT_TOLD` if absent.
    """

    zone: U64
    segment: U64
    content: F32
    creative: U64
    erase: U8
    provider: U8
    creatives: Creatives


@dataclass(slots=True, kw_only=True)
class EngagementBatch(_Rows):
    """Accepted rows of `email.engagements`.

    message: hash of (source, message_id), equal to the send's identity. kind: index into
    ENGAGEMENT_KINDS. machine: 0 unknown, 1 human, 2 machine. revenue: 0 where absent.
    """

    message: U64
    kind: U8
    machine: U8
    revenue: F64


@dataclass(slots=True, kw_only=True)
class RequestBatch(_Rows):
    """Accepted rows of `email.requests`. ids: of the requests, for the answers."""

    window_start_ms: I64
    window_end_ms: I64
    zone: U64
    segment: U64
    ids: Texts = field(default_factory=lambda: Texts.of([]))


def empty_rows(**columns: tuple[type[Any], tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Zero-row arrays by name, for tests and for chunks in which every record was refused."""
    return {name: np.zeros((0, *tail), dtype) for name, (dtype, tail) in columns.items()}
