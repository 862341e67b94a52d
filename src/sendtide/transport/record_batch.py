"""Records of one partition in columns: the bytes end to end, one array for each property."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

__all__ = ["PADDING_BYTES", "BinaryColumn", "RecordBatch", "starts_of"]

I64 = NDArray[np.int64]

PADDING_BYTES: Final = 64
"""Zeros after the last byte of a column: compiled readers look ahead without asking."""


@dataclass(frozen=True, slots=True, eq=False)
class BinaryColumn:
    """n byte strings, or nulls; row i is `data[starts[i]:starts[i + 1]]`.

    data: uint8, with PADDING_BYTES after the last row of what was fetched; a part of a column
    shares it. starts: int64[n + 1]. nulls: bool[n]; such a row is empty.
    """

    data: NDArray[np.uint8]
    starts: I64
    nulls: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[bytes | None]) -> Self:
        """Copy Python's byte strings."""
        nulls = np.fromiter((row is None for row in rows), np.bool_, len(rows))
        lengths = np.fromiter((len(row or b"") for row in rows), np.int64, len(rows))
        data = b"".join([*(row or b"" for row in rows), bytes(PADDING_BYTES)])
        return cls(np.frombuffer(data, np.uint8), starts_of(lengths), nulls)

    @classmethod
    def full(cls, data: NDArray[np.uint8], starts: I64) -> Self:
        """Rows none of which is null."""
        return cls(np.ascontiguousarray(data), starts, np.zeros(len(starts) - 1, np.bool_))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One column after the other; a single one is not copied."""
        if len(parts) == 1:
            return parts[0]
        data = [part.data[part.starts[0] : part.starts[-1]] for part in parts]
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return cls(
            np.concatenate([*data, np.zeros(PADDING_BYTES, np.uint8)]),
            starts_of(lengths),
            np.concatenate([part.nulls for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.nulls)

    def __getitem__(self, row: int) -> bytes | None:
        row = range(len(self))[row]
        if self.nulls[row]:
            return None
        return self.data[self.starts[row] : self.starts[row + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        data = self.data[self.starts[0] : self.starts[-1]].tobytes()
        ends = (self.starts - self.starts[0]).tolist()
        for null, (start, end) in zip(self.nulls.tolist(), pairwise(ends), strict=True):
            yield None if null else data[start:end]

    def part(self, rows: slice) -> Self:
        """Consecutive rows, without copying.

        Raises:
            ValueError: they are not consecutive.
        """
        first, end, step = rows.indices(len(self))
        if step != 1:
            msg = f"a part of a column is of consecutive rows; a step of {step} was asked for"
            raise ValueError(msg)
        return type(self)(self.data, self.starts[first : max(first, end) + 1], self.nulls[rows])

    @property
    def nbytes(self) -> int:
        """Bytes of the rows, and of what says where they are."""
        return int(self.starts[-1] - self.starts[0]) + self.starts.nbytes + self.nulls.nbytes


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """n > 0 records of one partition, in offset order. Headers are not kept.

    offsets, timestamps_ms: int64[n]; the timestamp is Kafka's. values, keys: n rows each.
    """

    offsets: I64
    timestamps_ms: I64
    values: BinaryColumn
    keys: BinaryColumn

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Self:
        """Copy messages of confluent-kafka, all of one partition and without an error."""
        count = len(messages)
        return cls(
            np.fromiter(map(Message.offset, messages), np.int64, count),
            np.fromiter((message.timestamp()[1] for message in messages), np.int64, count),
            BinaryColumn.of(list(map(Message.value, messages))),
            BinaryColumn.of(list(map(Message.key, messages))),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One batch after the other, whose offsets rise; a single one is not copied."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.offsets for part in parts]),
            np.concatenate([part.timestamps_ms for part in parts]),
            BinaryColumn.joined([part.values for part in parts]),
            BinaryColumn.joined([part.keys for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, rows: slice) -> Self:
        """Consecutive records, without copying."""
        columns = self.values.part(rows), self.keys.part(rows)
        return type(self)(self.offsets[rows], self.timestamps_ms[rows], *columns)

    @property
    def first_offset(self) -> int:
        """Of the first record."""
        return int(self.offsets[0])

    @property
    def next_offset(self) -> int:
        """One past the last record's."""
        return int(self.offsets[-1]) + 1

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        columns = self.offsets, self.timestamps_ms, self.values, self.keys
        return sum(int(column.nbytes) for column in columns)


def starts_of(lengths: I64) -> I64:
    """Where rows of these lengths begin, end to end, and the last one ends; int64[n + 1]."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts
