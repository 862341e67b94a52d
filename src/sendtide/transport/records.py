"""What is sent: single records with all they may have, or many that have a value and a key only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["KeyedRecords", "Record", "sizes"]


class Record(NamedTuple):
    """What is sent. partition -1: chosen by the key; timestamp_ms 0: now."""

    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    timestamp_ms: int = 0
    headers: Sequence[tuple[str, bytes | None]] | None = None


class KeyedRecords(Sequence[Record]):
    """n records in two columns, for whoever sends so many that an object for each would cost."""

    __slots__ = ("keys", "values")

    def __init__(self, values: list[bytes], keys: list[bytes]) -> None:
        self.values, self.keys = values, keys

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> KeyedRecords: ...
    def __getitem__(self, at: int | slice) -> Record | KeyedRecords:
        if isinstance(at, slice):
            return KeyedRecords(self.values[at], self.keys[at])
        return Record(self.values[at], self.keys[at])

    def __iter__(self) -> Iterator[Record]:
        return map(Record, self.values, self.keys)


def sizes(records: Sequence[Record]) -> NDArray[np.int64]:
    """Bytes of each record's value and key, (n,)."""
    n = len(records)
    if isinstance(records, KeyedRecords):
        lengths = np.fromiter(map(len, records.values), np.int64, n)
        return lengths + np.fromiter(map(len, records.keys), np.int64, n)
    found = (len(record.value or b"") + len(record.key or b"") for record in records)
    return np.fromiter(found, np.int64, n)
