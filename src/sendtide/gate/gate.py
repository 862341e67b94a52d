"""A gate per input topic: chunks of raw records in, column batches and refusals out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sendtide.events.batch import EngagementBatch, Names, RequestBatch, SendBatch
from sendtide.events.hashing import find_slot, hash_identity, hash_text
from sendtide.events.time import known_zones
from sendtide.events.user_agents import AgentBook
from sendtide.gate.authority import Event, Reason, Refusal, judge
from sendtide.gate.compiled import AGENT, CLIENT, SOURCE, UNSURE, Chunk, Common, Spellings
from sendtide.gate.scan import SENTINEL, Fields, Found

__all__ = ["Gate", "Refused"]

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_TAKEN: Final = 2
"""Status of a row the authority took; UNSURE after it has spoken means refused."""
_KINDS_OF_NAMES: Final = AGENT + 1

Batch = TypeVar("Batch", SendBatch, EngagementBatch, RequestBatch)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record for the dead letters; `row` is its place in the chunk: the caller has the bytes."""

    row: int
    offset: int
    reason: Reason
    detail: str


class BinaryColumn(Protocol):
    """n byte strings end to end: row i is `data[starts[i]:starts[i + 1]]`, empty if it is null."""

    @property
    def data(self) -> NDArray[np.uint8]:
        """All bytes, and maybe others before and after."""
        ...

    @property
    def starts(self) -> I64:
        """Where each row begins, and the last one ends; int64[n + 1]."""
        ...

    def __getitem__(self, row: int, /) -> bytes | None:
        """One row."""
        ...


def _closed(column: BinaryColumn | Sequence[bytes | None]) -> tuple[NDArray[np.uint8], I64]:
    """Return (all bytes, closed by the sentinel; where each row starts)."""
    if isinstance(column, Sequence):
        return _joined(column)
    data, size = column.data, len(SENTINEL)
    if len(data) - column.starts[-1] < size or data[-size:].any():
        data = np.concatenate([data, np.frombuffer(SENTINEL, np.uint8)])
    data = data.view()
    data.flags.writeable = False  # as `_joined` has it: another kind would be compiled once more
    return data, column.starts


def _joined(parts: Sequence[bytes | None]) -> tuple[NDArray[np.uint8], I64]:
    """Return (all parts end to end with the sentinel, (n + 1,) starts); None counts as empty."""
    try:
        data = b"".join([*parts, SENTINEL])  # type: ignore[list-item]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))  # type: ignore[arg-type]
    except TypeError:
        return _joined([part or b"" for part in parts])
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return np.frombuffer(data, np.uint8), starts


def _zone_slots() -> U64:
    """Hashes of all IANA zones, open-addressed."""
    slots = np.zeros(4096, np.uint64)
    for code in known_zones():
        slots[find_slot(slots, np.uint64(code))] = code
    return slots


class Gate(ABC, Generic[Batch]):
    """Reads chunks of one topic. Deterministic: the same records give the same rows, always.

    Keeps scratch space between chunks, so each thread needs a gate of its own.

    Args:
        max_future_ms: how far an event may lie after its record's Kafka timestamp.
        clients, sources, segments, zones: where spellings are learned; may be shared by gates.
        compiled: False leaves every record to the authority (tests compare the two).
    """

    event: type[Event]

    def __init__(
        self,
        *,
        max_future_ms: int,
        clients: Names,
        sources: Names,
        segments: Names,
        zones: Names,
        compiled: bool = True,
    ) -> None:
        self._max_future_ms = max_future_ms
        self._agents = AgentBook()
        self._names = (sources, clients, segments, zones)
        self._compiled = compiled
        self._fields = Fields.of(self.event.__struct_fields__)
        self._found = Found.room_for(self._fields)
        self._codes: list[dict[str, int]] = [{} for _ in range(_KINDS_OF_NAMES)]
        self._zones = _zone_slots()
        self._known = np.zeros((_KINDS_OF_NAMES, 1024), np.uint64)

    def read(
        self,
        values: BinaryColumn | Sequence[bytes | None],
        keys: BinaryColumn | Sequence[bytes | None],
        offsets: I64,
        timestamps_ms: I64,
    ) -> tuple[Batch, list[Refused]]:
        """Return (the rows taken, in offset order; the records refused, in offset order).

        `values`, `keys`: n records of one partition. `offsets`, `timestamps_ms`: (n,) int64.
        Raises nothing on account of what the records hold.
        """
        data, starts = _closed(values)
        key_data, key_starts = _closed(keys)
        chunk = Chunk(data, starts, key_data, key_starts, timestamps_ms, self._max_future_ms)
        batch = self._allocate(offsets, timestamps_ms)
        status = np.zeros(len(offsets), np.uint8)
        if self._compiled:
            self._read_fast(batch, chunk, status)
        refused: list[Refused] = []
        for row in np.flatnonzero(status == UNSURE).tolist():
            try:
                self._read_surely(batch, row, values[row], keys[row])
            except Refusal as refusal:
                refused.append(Refused(row, int(offsets[row]), refusal.reason, refusal.detail))
            else:
                status[row] = _TAKEN
        self._finish(batch)
        if refused:
            batch = batch.selected(status != UNSURE)
        return batch, refused

    def _finish(self, batch: Batch) -> None:
        """Do what needs all rows; nothing, unless a topic says so."""

    def _read_fast(self, batch: Batch, chunk: Chunk, status: NDArray[np.uint8]) -> None:
        names = self._spellings(len(status))
        common = Common(
            status, batch.event_time_ms, batch.identity, batch.source, batch.client, batch.recipient
        )
        self._decode(batch, chunk, common, names)
        books = (*self._names, self._agents)
        for kind, code, start, end in names.fresh[: names.counts[0]].tolist():
            spelling = chunk.data[start:end].tobytes().decode()
            books[kind].learn(code & 0xFFFF_FFFF_FFFF_FFFF, spelling)

    def _spellings(self, rows: int) -> Spellings:
        """Tables with room for `rows` new names of each kind at a load of one half."""
        used = max(np.count_nonzero(table) for table in self._known)
        slots = self._known.shape[1]
        if 2 * (used + rows) > slots:
            while 2 * (used + rows) > slots:
                slots *= 2
            known = np.zeros((_KINDS_OF_NAMES, slots), np.uint64)
            for old, new in zip(self._known, known, strict=True):
                for code in old[old != 0]:
                    new[find_slot(new, code)] = code
            self._known = known
        fresh = np.empty((_KINDS_OF_NAMES * rows, 4), np.int64)
        return Spellings(self._known, self._zones, fresh, np.zeros(1, np.int64))

    def _read_surely(self, batch: Batch, row: int, value: bytes | None, key: bytes | None) -> None:
        """Let the authority judge one record, and write its row."""
        if value is None:
            self._forget(batch, row, key)
            return
        timestamp_ms = int(batch.timestamp_ms[row])
        event = judge(self.event, value, key, timestamp_ms, self._max_future_ms)
        batch.event_time_ms[row] = event.event_time_ms
        batch.identity[row] = hash_identity(event.source, event.id)
        batch.source[row] = self._learn(SOURCE, event.source)
        self._write_owner(batch, row, event.client_id, event.recipient_id)
        self._write(batch, row, event)

    def _write_owner(self, batch: Batch, row: int, client: str, recipient: str) -> None:
        batch.client[row] = self._learn(CLIENT, client)
        batch.recipient[row] = int(recipient[:16], 16), int(recipient[16:], 16)

    def _learn(self, kind: int, spelling: str | None) -> int:
        if spelling is None:
            return 0
        code = self._codes[kind].get(spelling)
        if code is None:
            code = self._codes[kind][spelling] = hash_text(spelling)
            self._names[kind].learn(code, spelling)
        return code

    def _forget(self, batch: Batch, row: int, key: bytes | None) -> None:  # noqa: ARG002
        """Refuse a null value; the sends' gate makes a row of it."""
        detail = "a null value means nothing on this topic; send a JSON object"
        raise Refusal(detail, "wrong_type")

    @abstractmethod
    def _allocate(self, offsets: I64, timestamps_ms: I64) -> Batch:
        """Columns for these records, zero or NaN."""

    @abstractmethod
    def _decode(self, batch: Batch, chunk: Chunk, common: Common, names: Spellings) -> None:
        """Run the compiled reader."""

    @abstractmethod
    def _write(self, batch: Batch, row: int, event: Event) -> None:
        """Write the columns only this topic has."""
