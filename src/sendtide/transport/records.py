"""What is sent: single records with all they may have, or many that have a value and a key only.

Or rows that become records only when it is known what else is sent with them (`Mergeable`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self, overload

import numpy as np
from numpy.typing import NDArray

from sendtide.transport.record_batch import BinaryColumn

__all__ = ["KeyedRecords", "Mergeable", "Output", "Outputs", "Record", "are_plain", "as_batch"]
__all__ += ["merged", "size_of", "sizes"]


class Record(NamedTuple):
    """What is sent. partition -1: chosen by the key; timestamp_ms 0: now."""

    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    timestamp_ms: int = 0
    headers: Sequence[tuple[str, bytes | None]] | None = None


class KeyedRecords(Sequence[Record]):
    """n records in two columns, for whoever sends so many that an object for each would cost.

    Raises:
        ValueError: the columns differ in length.
    """

    __slots__ = ("keys", "values")

    def __init__(self, values: BinaryColumn, keys: BinaryColumn) -> None:
        if len(values) != len(keys):
            msg = f"{len(values)} values, and {len(keys)} keys for them"
            raise ValueError(msg)
        self.values, self.keys = values, keys

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> KeyedRecords: ...
    def __getitem__(self, at: int | slice) -> Record | KeyedRecords:
        if isinstance(at, slice):
            return KeyedRecords(self.values.part(at), self.keys.part(at))
        return Record(self.values[at], self.keys[at])

    def __iter__(self) -> Iterator[Record]:
        return map(Record, self.values, self.keys)


class Mergeable(ABC):
    """Rows that are no records yet: those of all works that are written together share records."""

    __slots__ = ()

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes, about."""

    @abstractmethod
    def records(self, others: Sequence[Self]) -> Sequence[Record]:
        """The records of these rows and of the others', in this order."""


Output = Sequence[Record] | Mergeable
"""What goes to one topic."""
Outputs = Mapping[str, Output]
"""What goes out, by full topic name, each in order."""


def merged(outputs: Iterable[Outputs]) -> list[tuple[str, Sequence[Record]]]:
    """Topics and records of works that are written together, in order.

    Where a topic has rows that can be merged, the records of all of them are in the place of the
    first's.
    """
    found: list[tuple[str, Output]] = []
    others: dict[str, list[Mergeable]] = {}
    for topic, output in (pair for work in outputs for pair in work.items()):
        if isinstance(output, Mergeable):
            if topic in others:
                others[topic].append(output)
                continue
            others[topic] = []
        found.append((topic, output))
    return [
        (topic, output.records(others[topic]) if isinstance(output, Mergeable) else output)
        for topic, output in found
    ]


def size_of(output: Output) -> int:
    """Bytes of what goes to one topic."""
    return output.size if isinstance(output, Mergeable) else int(sizes(output).sum())


def sizes(records: Sequence[Record]) -> NDArray[np.int64]:
    """Bytes of each record's value and key, (n,)."""
    if isinstance(records, KeyedRecords):
        return np.diff(records.values.starts) + np.diff(records.keys.starts)
    found = (len(record.value or b"") + len(record.key or b"") for record in records)
    return np.fromiter(found, np.int64, len(records))


def are_plain(records: Sequence[Record]) -> bool:
    """Whether a value and a key are all that they have."""
    if isinstance(records, KeyedRecords):
        return True
    return all(r.partition < 0 and not r.headers and not r.timestamp_ms for r in records)


def as_batch(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Plain records as the client's `produce_batch` takes them.

    One call for many saves a third of the time. It takes no headers and no timestamps, and
    partitions of single records it does not heed (confluent-kafka 2.16.1).
    """
    if isinstance(records, KeyedRecords):
        pairs = zip(records.values, records.keys, strict=True)
        return [{"value": value, "key": key} for value, key in pairs]
    return [{"value": record.value, "key": record.key} for record in records]
